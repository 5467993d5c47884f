//! Points in time in the format of the API.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Nanoseconds since 1970 UTC, up to the year 2554; times outside of this range are clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Nanoseconds since 1970, until the year 2554.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// Adds seconds: converts a `ttl` to an `expiration`.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
    }

    /// Saturates at the greatest time.
    pub const fn plus(self, duration: Duration) -> Self {
        let nanos = duration.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }

    /// Saturates at 1970.
    pub const fn minus(self, duration: Duration) -> Self {
        let nanos = duration.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_sub(nanos))
    }

    /// The `ttl` of an expiration: seconds left at `now`, rounded up; 0 or negative if it has elapsed.
    pub const fn seconds_left(self, now: Self) -> i64 {
        let left = self.0 as i128 - now.0 as i128;
        let second = NANOS_PER_SECOND as i128;
        // Rounded up; `/` truncates negative numbers towards zero, which is also up.
        let up = if left > 0 { (left + second - 1) / second } else { left / second };
        up as i64
    }
}

impl Timestamp {
    /// Appends RFC 3339 in UTC, without trailing zeros of the fraction.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        let seconds = self.0 / NANOS_PER_SECOND;
        let (year, month, day) = civil_date(seconds / SECONDS_PER_DAY);
        push_padded(out, year, 4);
        for (mark, number) in [(b'-', month), (b'-', day)] {
            out.push(mark);
            push_padded(out, number, 2);
        }
        let second = seconds % SECONDS_PER_DAY;
        for (mark, number) in [(b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
            out.push(mark);
            push_padded(out, number, 2);
        }
        let nanos = self.0 % NANOS_PER_SECOND;
        if nanos != 0 {
            out.push(b'.');
            push_padded(out, nanos, 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(30);
        self.write_rfc3339(&mut out);
        formatter.write_str(&String::from_utf8_lossy(&out))
    }
}

/// Year, month and day of a day since 1970 in the Gregorian calendar, computed in years that start in March, so that
/// the leap day is the last one.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 is 719,468 days before 1970-01-01; 400 years have 146,097 days.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn push_padded(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number);
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits.as_bytes());
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_formatted_like_go() {
        let check = |nanos: u64, expect: &str| assert_eq!(Timestamp(nanos).to_string(), expect);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400_000_000_000, "2000-02-29T00:00:00Z");
        check(951_868_800_000_000_000, "2000-03-01T00:00:00Z");
        check(1_795_157_209_487_435_821, "2026-11-20T06:46:49.487435821Z");
        check(1_795_157_196_500_000_000, "2026-11-20T06:46:36.5Z");
        check(4_107_542_399_000_000_001, "2100-02-28T23:59:59.000000001Z");
        check(4_107_542_400_000_000_000, "2100-03-01T00:00:00Z");
        check(u64::MAX, "2554-07-21T23:34:33.709551615Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(u64::MAX - 1).plus_seconds(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(1).plus(Duration::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(0).seconds_left(Timestamp(u64::MAX)), -18_446_744_073);
        assert_eq!(Timestamp(u64::MAX).seconds_left(Timestamp(0)), 18_446_744_074);
        assert_eq!(Timestamp::from(UNIX_EPOCH), Timestamp(0));
    }
}
