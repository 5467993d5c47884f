//! A moment in real time, as the interface writes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970 UTC, up to the year 2554; earlier and later moments are cut to that range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// This many seconds later: how `ttl` becomes an `expiration`.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND)))
    }

    pub const fn plus(self, duration: Duration) -> Self {
        let nanos = duration.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }

    /// The `ttl` that stands beside an expiration: whole seconds left at `now`, rounded up; 0 and less
    /// when the moment has passed.
    pub const fn seconds_left(self, now: Self) -> i64 {
        let left = self.0 as i128 - now.0 as i128;
        let second = NANOS_PER_SECOND as i128;
        // Rounded up; negative numbers are cut towards zero by `/`, which is up too.
        let up = if left > 0 { (left + second - 1) / second } else { left / second };
        up as i64
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}
