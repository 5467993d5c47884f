//! Limits and fixed timeouts.

use std::time::Duration;

/// Attempts of a compare-and-swap that loses against concurrent writers.
pub const CAS_ATTEMPTS: u32 = 10;

/// A longer value is not one of ours.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// Upper bound of the retry backoff, which doubles from the configured interval.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// How often the wall clock is read while waiting for a window: it may be changed meanwhile.
pub const WALL_CLOCK_POLL: Duration = Duration::from_secs(60);

/// How long before the end of the window a reboot is requested at the latest, if users are logged in: a timer may be
/// late.
pub const WINDOW_MARGIN: Duration = Duration::from_secs(5);

/// How long a requested reboot may take before the daemon fails.
pub const REBOOT_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The backoff before retry `attempt`, counted from 1: 10 to 20 ms, doubling up to 320 to 640 ms. `random` is
/// any number and adds jitter.
pub fn cas_backoff(attempt: u32, random: u64) -> Duration {
    let min = 10 << attempt.saturating_sub(1).min(5);
    Duration::from_millis(min + random % min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_and_is_bounded() {
        for (attempt, min, max) in
            [(1, 10, 20), (2, 20, 40), (6, 320, 640), (10, 320, 640), (u32::MAX, 320, 640)]
        {
            for random in [0, 1, 7, 639, u64::MAX] {
                let backoff = cas_backoff(attempt, random).as_millis();
                assert!((min..max).contains(&backoff), "{attempt} {random}: {backoff}");
            }
        }
    }
}
