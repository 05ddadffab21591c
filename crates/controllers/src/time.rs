//! Times as the API writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `metav1.Time`: whole seconds.
pub(crate) fn format(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// `metav1.MicroTime`.
pub(crate) fn format_micro(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}
