//! How long to wait after failures, and how to spread intervals.

use std::time::Duration;

/// Exponential waits: the first delay doubles with each failure up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(750),
            limit: Duration::from_secs(15 * 60),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row (the first is 1).
    pub fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first
            .checked_mul(1 << doublings)
            .unwrap_or(self.limit)
            .min(self.limit)
    }
}

/// Moves an interval by up to `percent` to either side; `random` is between 0 and 1.
pub fn jitter(interval: Duration, percent: u8, random: f64) -> Duration {
    let share = f64::from(percent.min(100)) / 100.0;
    interval.mul_f64(1.0 + share * (2.0 * random.clamp(0.0, 1.0) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let backoff = Backoff::default();
        let waits: Vec<u128> = [1, 2, 3, 10, 12, 1000]
            .map(|n| backoff.after(n).as_millis())
            .to_vec();
        assert_eq!(waits, [750, 1500, 3000, 384_000, 900_000, 900_000]);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let minute = Duration::from_secs(60);
        assert_eq!(jitter(minute, 5, 0.0), Duration::from_secs(57));
        assert_eq!(jitter(minute, 5, 0.5), minute);
        assert_eq!(jitter(minute, 5, 1.0), Duration::from_secs(63));
        assert_eq!(jitter(minute, 0, 0.9), minute);
    }
}
