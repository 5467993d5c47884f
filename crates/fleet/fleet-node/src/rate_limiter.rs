//! Limits how often a key is written, so that a unit in a restart loop does not load the whole cluster.

use tokio::time::Instant;

use crate::limits::{CHANGE_BURST, CHANGE_INTERVAL};

/// Token bucket: a burst of changes is written immediately, later ones at an interval. A delayed write has the value
/// at that time, not the last change, so that a short-lived state is not shown for a whole interval.
pub struct RateLimiter {
    used: u32,
    /// Time of the last refill.
    refilled_at: Instant,
    /// A change has been waiting since then, so no token is returned.
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

    /// Records a write.
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

    /// Milliseconds at which changes are written that arrive each 100 ms.
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
        // The burst is available again after a pause.
        assert_eq!(written(begun, &mut limiter, 60_000, 60_900).len(), 8);
    }
}
