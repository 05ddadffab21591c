//! Ages in the short form of kubectl.

use jiff::Timestamp;

/// How long before `now` a moment was: `45s`, `3m20s`, `12m`, `5h3m`, `11h`, `3d4h`, `20d`.
#[must_use]
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    // Clocks of two machines differ a little.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{small}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        pair(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else {
        pair(days / 365, "y", days % 365, "d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_lose_their_small_parts_as_they_grow() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let shown = |seconds: i64| ago(now, Timestamp::from_second(1_700_000_000 - seconds).unwrap());
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (150, "2m30s"),
            (700, "11m"),
            (3 * 3600 + 60, "3h1m"),
            (20 * 3600, "20h"),
            (3 * 86400 + 3600, "3d1h"),
            (100 * 86400, "100d"),
            (-60, "<invalid>"),
        ] {
            assert_eq!(shown(seconds), text);
        }
    }
}
