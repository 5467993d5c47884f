//! What may grow, and how far; the times that nothing sets.

use std::time::Duration;

/// A lock is written with the index that was read before; where another one was faster, it is tried again this often.
pub const CAS_ATTEMPTS: u32 = 10;

/// A store's value that is longer is no semaphore of ours.
pub const VALUE_BYTES: usize = 1024 * 1024;

/// The retry of what failed begins with the first interval, doubles, and stops growing here.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The longest time between two looks at the wall clock while a window is waited for: it may be set meanwhile.
pub const WALL_CLOCK_LOOK: Duration = Duration::from_secs(60);

/// How long the machine may take to go down after it was told to.
pub const REBOOT_PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Before the `attempt`-th repetition, from 1: 10 to 20 ms, doubling up to 320 to 640 ms. `chance` spreads those who
/// ran into each other; any number will do.
pub fn cas_pause(attempt: u32, chance: u64) -> Duration {
    let least = 10 << attempt.saturating_sub(1).min(5);
    Duration::from_millis(least + chance % least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        for (attempt, least, most) in
            [(1, 10, 20), (2, 20, 40), (6, 320, 640), (10, 320, 640), (u32::MAX, 320, 640)]
        {
            for chance in [0, 1, 7, 639, u64::MAX] {
                let pause = cas_pause(attempt, chance).as_millis();
                assert!((least..most).contains(&pause), "{attempt} {chance}: {pause}");
            }
        }
    }
}
