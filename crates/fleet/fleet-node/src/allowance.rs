//! How often a word may be written that does not come to rest: a unit that systemd starts again and again is no
//! reason for the whole cluster to hear of it each time.

use tokio::time::Instant;

use crate::limits::{CHANGE_EACH, CHANGES_AT_ONCE};

/// So many changes are written at once. Then one from time to time, which is what holds at that moment and not what
/// changed last: what a word is for the shortest time would else be shown as long as what it is for the longest.
pub struct Allowance {
    spent: u32,
    /// Since when the next one comes back.
    since: Instant,
    /// A change waits since then: it has not come to rest, and none comes back.
    waits: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { spent: 0, since: Instant::now(), waits: false }
    }
}

impl Allowance {
    /// When the next change may be written.
    pub fn next(&mut self, now: Instant) -> Instant {
        self.come_back(now);
        if self.spent < CHANGES_AT_ONCE {
            return now;
        }
        self.waits = true;
        self.since + CHANGE_EACH
    }

    /// One was written.
    pub fn spend(&mut self, now: Instant) {
        self.come_back(now);
        self.spent = (self.spent + 1).min(CHANGES_AT_ONCE);
    }

    fn come_back(&mut self, now: Instant) {
        while self.spent > 0 && self.since + CHANGE_EACH <= now {
            if !std::mem::take(&mut self.waits) {
                self.spent -= 1;
            }
            self.since += CHANGE_EACH;
        }
        if self.spent == 0 {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Milliseconds at which changes are written that come each 100 ms for so long.
    fn written(begun: Instant, allowance: &mut Allowance, from: u64, to: u64) -> Vec<u64> {
        let at = |millis| begun + Duration::from_millis(millis);
        let (mut times, mut due) = (Vec::new(), None);
        for millis in (from..to).step_by(100) {
            let now = at(millis);
            let next = *due.get_or_insert_with(|| allowance.next(now));
            if next <= now {
                allowance.spend(now);
                times.push(millis);
                due = None;
            }
        }
        times
    }

    #[test]
    fn some_at_once_then_one_each_second() {
        let begun = Instant::now();
        let mut allowance = Allowance { spent: 0, since: begun, waits: false };
        let first = (0..8).map(|number| number * 100);
        let all: Vec<u64> = first.chain([1000, 2000, 3000]).collect();
        assert_eq!(written(begun, &mut allowance, 0, 4000), all);
        // After a pause as at first.
        assert_eq!(written(begun, &mut allowance, 60_000, 60_900).len(), 8);
    }
}
