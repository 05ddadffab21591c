//! Points in time as Go reads them, with its words about those that are none.

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
/// Parts of a time: digits, or a sign.
const PARTS: &[&str] = &["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"];

/// Whether a text is a point in time.
///
/// # Errors
/// Go's words about the first part that is none.
pub(super) fn check(text: &str) -> Result<(), String> {
    let refuse = |rest: &str, part: &str| {
        format!("parsing time {text:?} as {LAYOUT:?}: cannot parse {rest:?} as {part:?}")
    };
    let mut rest = text;
    for part in PARTS {
        let fits = rest.get(..part.len()).is_some_and(|own| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            own == *part || digits && own.bytes().all(|byte| byte.is_ascii_digit())
        });
        if !fits {
            return Err(refuse(rest, part));
        }
        rest = &rest[part.len()..];
    }
    let fraction = rest.strip_prefix(['.', ',']).map_or(0, |digits| {
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 { 0 } else { count + 1 }
    });
    let zone = &rest[fraction..];
    let (hours, minutes) = (zone.get(1..3).unwrap_or("x"), zone.get(4..6).unwrap_or("x"));
    let number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let offset = zone.len() == 6 && zone.starts_with(['+', '-']) && zone.get(3..4) == Some(":");
    if zone != "Z" && !(offset && number(hours) && number(minutes)) {
        return Err(refuse(zone, "Z07:00"));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("parsing time {text:?}: {} out of range", wrong(text))),
    }
}

/// The first number that is too big.
fn wrong(text: &str) -> &'static str {
    let number = |from: usize| text.get(from..from + 2).and_then(|text| text.parse::<u8>().ok());
    let over = |from: usize, most: u8| number(from).is_none_or(|number| number > most);
    if over(5, 12) || number(5) == Some(0) {
        "month"
    } else if over(11, 23) {
        "hour"
    } else if over(14, 59) {
        "minute"
    } else if over(17, 59) {
        "second"
    } else {
        "day"
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn times_are_read_part_by_part() {
        for good in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25+02:00"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, end) in [
            ("x", "cannot parse \"x\" as \"2006\""),
            ("2020-01-01", "cannot parse \"\" as \"T\""),
            ("2020-01-01T00:00:00", "cannot parse \"\" as \"Z07:00\""),
            (
                "2020-13-01T00:00:00Z",
                "\"2020-13-01T00:00:00Z\": month out of range",
            ),
            ("2021-02-30T00:00:00Z", "day out of range"),
        ] {
            assert!(check(bad).is_err_and(|error| error.ends_with(end)), "{bad}");
        }
    }
}
