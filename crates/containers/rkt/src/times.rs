//! Times as rkt prints them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `2016-01-26 14:23:34.631 +0100 CET`
pub fn full(millis: u64) -> String {
    let timestamp =
        i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    timestamp.map_or_else(String::new, |timestamp| {
        timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f %z %Z").to_string()
    })
}

/// `5 minutes ago`
pub fn ago(millis: u64, now: u64) -> String {
    let seconds = now.saturating_sub(millis) / 1000;
    let (count, unit) = match seconds {
        0 => return "now".to_owned(),
        1..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..604_800 => (seconds / 86_400, "day"),
        _ => (seconds / 604_800, "week"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let check = |seconds: u64, expected: &str| assert_eq!(ago(1000, 1000 + seconds * 1000), expected);
        check(0, "now");
        check(1, "1 second ago");
        check(59, "59 seconds ago");
        check(3600, "1 hour ago");
        check(3 * 86_400, "3 days ago");
        check(700_000, "1 week ago");
    }
}
