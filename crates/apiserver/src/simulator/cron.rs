//! Schedules of cron jobs: five fields, names, steps and macros, in a time zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// The minutes, hours, days, months and weekdays at which something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Days and weekdays are alternatives unless one of them is a star.
    either: bool,
    every: Option<i64>,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn value(text: &str, names: &[&str], first: u32) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    match names.iter().position(|name| *name == lower) {
        Some(at) => u32::try_from(at).ok().map(|at| at + first),
        None => text.parse().ok(),
    }
}

/// The bits of one field; also whether it is a star.
fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<(u64, bool)> {
    let mut bits = 0;
    let mut star = false;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = if range == "*" || range == "?" {
            star = true;
            (low, high)
        } else if let Some((from, to)) = range.split_once('-') {
            (value(from, names, low)?, value(to, names, low)?)
        } else {
            let one = value(range, names, low)?;
            (one, if part.contains('/') { high } else { one })
        };
        if from < low || to > high || from > to {
            return None;
        }
        bits |= (from..=to)
            .step_by(usize::try_from(step).ok()?)
            .fold(0_u64, |bits, at| bits | 1 << at);
    }
    Some((bits, star))
}

impl Schedule {
    /// Reads a schedule; None if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(every) = text.strip_prefix("@every ") {
            let every = fluvial_object::duration::parse_std(every).ok()?;
            return Some(Schedule {
                minutes: 0,
                hours: 0,
                days: 0,
                months: 0,
                weekdays: 0,
                either: false,
                every: Some(i64::try_from(every.as_secs()).ok()?.max(1)),
            });
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return None;
        };
        let (days, any_day) = field(days, 1, 31, &[])?;
        let (weekdays, any_weekday) = field(weekdays, 0, 6, &DAYS)?;
        Some(Schedule {
            minutes: field(minutes, 0, 59, &[])?.0,
            hours: field(hours, 0, 23, &[])?.0,
            days,
            months: field(months, 1, 12, &MONTHS)?.0,
            weekdays,
            either: !any_day && !any_weekday,
            every: None,
        })
    }

    fn day_fits(&self, time: DateTime) -> bool {
        let day = self.days >> u32::from(time.day().unsigned_abs()) & 1 == 1;
        let weekday = time.weekday().to_sunday_zero_offset();
        let weekday = self.weekdays >> u32::from(weekday.unsigned_abs()) & 1 == 1;
        if self.either {
            day || weekday
        } else {
            day && weekday
        }
    }

    /// The first time after `after` at which it is due; none within the next five years is none at all.
    pub(crate) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if let Some(every) = self.every {
            return after.checked_add(every.seconds()).ok();
        }
        let start = zone.to_datetime(after);
        let mut time = start
            .with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(1.minute())
            .ok()?;
        let last = start.year().saturating_add(5);
        while time.year() <= last {
            if self.months >> u32::from(time.month().unsigned_abs()) & 1 == 0 {
                time = time.first_of_month().start_of_day().checked_add(1.month()).ok()?;
            } else if !self.day_fits(time) {
                time = time.start_of_day().checked_add(1.day()).ok()?;
            } else if self.hours >> u32::from(time.hour().unsigned_abs()) & 1 == 0 {
                let hour = time.with().minute(0).build().ok()?;
                time = hour.checked_add(1.hour()).ok()?;
            } else if self.minutes >> u32::from(time.minute().unsigned_abs()) & 1 == 0 {
                time = time.checked_add(1.minute()).ok()?;
            } else {
                let found = zone.to_ambiguous_timestamp(time).compatible().ok()?;
                if found > after {
                    return Some(found);
                }
                time = time.checked_add(1.minute()).ok()?;
            }
        }
        None
    }
}

trait StartOfDay {
    fn start_of_day(self) -> DateTime;
}

impl StartOfDay for DateTime {
    fn start_of_day(self) -> DateTime {
        self.date().to_datetime(jiff::civil::Time::midnight())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let schedule = Schedule::parse(schedule).unwrap();
        let next = schedule.next(after.parse().unwrap(), &TimeZone::UTC);
        next.map(|time| time.to_string()).unwrap_or_default()
    }

    #[test]
    fn schedules_tell_the_next_time() {
        assert_eq!(
            next("*/15 * * * *", "2026-01-01T00:14:30Z"),
            "2026-01-01T00:15:00Z"
        );
        assert_eq!(
            next("0 3 * * mon-fri", "2026-01-02T03:00:00Z"),
            "2026-01-05T03:00:00Z"
        );
        assert_eq!(
            next("30 1 29 2 *", "2026-01-01T00:00:00Z"),
            "2028-02-29T01:30:00Z"
        );
        assert_eq!(next("0 0 13 * 5", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");
        assert_eq!(next("@every 90s", "2026-01-01T00:00:00Z"), "2026-01-01T00:01:30Z");
        assert_eq!(next("0 0 31 2 *", "2026-01-01T00:00:00Z"), "");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
        ] {
            assert_eq!(Schedule::parse(text), None, "{text}");
        }
    }
}
