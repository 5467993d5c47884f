//! How often a word may be written that does not come to rest: a unit that systemd starts again and again is no
//! reason for the whole cluster to hear of it each time.

use tokio::time::Instant;

use crate::limits::{CHANGE_BURST, CHANGE_INTERVAL};

/// So many changes are written at once. Then one from time to time, which is what holds at that moment and not what
/// changed last: what a word is for the shortest time would else be shown as long as what it is for the longest.
pub struct RateLimiter {
    used: u32,
    /// Since when the next one comes back.
    refilled_at: Instant,
    /// A change waits since then: it has not come to rest, and none comes back.
    is_waiting: bool,
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self { used: 0, refilled_at: Instant::now(), is_waiting: false }
    }
}

impl RateLimiter {
    /// When the next change may be written.
    pub fn next_allowed(&mut self, now: Instant) -> Instant {
        self.refill(now);
        if self.used < CHANGE_BURST {
            return now;
        }
        self.is_waiting = true;
        self.refilled_at + CHANGE_INTERVAL
    }

    /// One was written.
    pub fn record(&mut self, now: Instant) {
        self.refill(now);
        self.used = (self.used + 1).min(CHANGE_BURST);
    }

    fn refill(&mut self, now: Instant) {
        while self.used > 0 && self.refilled_at + CHANGE_INTERVAL <= now {
            if !std::mem::take(&mut self.is_waiting) {
                self.used -= 1;
            }
            self.refilled_at += CHANGE_INTERVAL;
        }
        if self.used == 0 {
            self.refilled_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Milliseconds at which changes are written that come each 100 ms for so long.
    fn written(begun: Instant, limiter: &mut RateLimiter, from: u64, to: u64) -> Vec<u64> {
        let at = |millis| begun + Duration::from_millis(millis);
        let (mut times, mut due) = (Vec::new(), None);
        for millis in (from..to).step_by(100) {
            let now = at(millis);
            let next_allowed = *due.get_or_insert_with(|| limiter.next_allowed(now));
            if next_allowed <= now {
                limiter.record(now);
                times.push(millis);
                due = None;
            }
        }
        times
    }

    #[test]
    fn a_burst_then_one_each_second() {
        let begun = Instant::now();
        let mut limiter = RateLimiter { used: 0, refilled_at: begun, is_waiting: false };
        let first = (0..8).map(|number| number * 100);
        let all: Vec<u64> = first.chain([1000, 2000, 3000]).collect();
        assert_eq!(written(begun, &mut limiter, 0, 4000), all);
        // After a pause as at first.
        assert_eq!(written(begun, &mut limiter, 60_000, 60_900).len(), 8);
    }
}
