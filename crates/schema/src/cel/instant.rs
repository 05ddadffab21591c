//! Points in time of the years 1 to 9999, all of them, by the nanosecond.

use std::fmt;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    seconds: i64,
    nanoseconds: u32,
}

/// A point in time as a calendar and a clock show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// Day of the week, Sunday is 0.
    pub(crate) weekday: i64,
    /// From 0.
    pub(crate) day_of_year: i64,
}

const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;
const DAY: i64 = 86_400;

impl Instant {
    /// The instant so many seconds after 1970; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Instant> {
        let fits = (FIRST..=LAST).contains(&seconds) && nanoseconds < 1_000_000_000;
        fits.then_some(Instant { seconds, nanoseconds })
    }

    /// Reads an RFC 3339 text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Instant> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = text.get(from..to)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            part.parse().ok()
        };
        let sign = |at: usize, sign: u8| (bytes.get(at) == Some(&sign)).then_some(());
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        for (at, wanted) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
            sign(at, wanted)?;
        }
        let real = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
        if !real || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.strip_prefix(['.', ',']) {
            let length = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let digits: String = fraction[..length]
                .chars()
                .chain("000000000".chars())
                .take(9)
                .collect();
            nanoseconds = if length == 0 {
                return None;
            } else {
                digits.parse().ok()?
            };
            rest = &fraction[length..];
        }
        let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
        Instant::new(seconds - offset(rest)?, nanoseconds)
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds of the second.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// So many nanoseconds later.
    pub(crate) fn plus(self, nanoseconds: i64) -> Option<Instant> {
        let all = self.since_epoch() + i128::from(nanoseconds);
        let seconds = i64::try_from(all.div_euclid(1_000_000_000)).ok()?;
        let rest = u32::try_from(all.rem_euclid(1_000_000_000)).ok()?;
        Instant::new(seconds, rest)
    }

    /// Nanoseconds since 1970.
    pub(crate) fn since_epoch(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// What a calendar shows so many seconds east of Greenwich.
    pub(crate) fn civil(self, offset: i64) -> Civil {
        let seconds = self.seconds + offset;
        let (count, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = date(count);
        Civil {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (count + 4).rem_euclid(7),
            day_of_year: count - days(year, 1, 1),
        }
    }
}

/// Seconds east of Greenwich of a zone's text.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let number = |part: &str| -> Option<i64> {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date; years are thought to begin in March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970.
fn date(count: i64) -> (i64, i64, i64) {
    let shifted = count + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil(0);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
        )?;
        if self.nanoseconds > 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for text in [
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "2000-02-29T12:00:00Z",
            "2024-12-31T23:59:59.123456789Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(Instant::parse(text).expect("a time").to_string(), text);
        }
        let east = Instant::parse("2024-01-01T01:30:00+02:00").expect("a time");
        assert_eq!(east.to_string(), "2023-12-31T23:30:00Z");
        for text in [
            "2023-02-29T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn calendars_know_days() {
        let civil = Instant::parse("2024-03-01T00:00:00Z").expect("a time").civil(0);
        assert_eq!((civil.weekday, civil.day_of_year), (5, 60));
    }
}
