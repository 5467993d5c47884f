//! Time limits of waits and requests.
//!
//! Tests scale them down, as the contract's limits are minutes. Scaled-down time counts as elapsed in full, so
//! that the number of attempts does not depend on the machine's load.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// For tests: divides all waits and limits.
const SPEEDUP_ENV: &str = "COREOS_CLOUDINIT_TEST_HASTE";
/// For tests: overrides the divisor for requests.
const REQUEST_SPEEDUP_ENV: &str = "COREOS_CLOUDINIT_TEST_REQUEST_HASTE";
const MAX_SPEEDUP: u32 = 1000;

fn speedup(variable: &str) -> Option<u32> {
    let speedup = std::env::var(variable).ok()?.parse::<u32>().ok()?;
    Some(speedup.clamp(1, MAX_SPEEDUP))
}

/// `time`, scaled down in tests.
pub(super) fn scaled(time: Duration) -> Duration {
    time / speedup(SPEEDUP_ENV).unwrap_or(1)
}

/// The remaining time of a limit. Clones share it.
#[derive(Clone)]
pub(super) struct TimeBudget {
    end: Instant,
    /// Time that a test did not wait.
    skipped: Rc<Cell<Duration>>,
}

impl TimeBudget {
    pub fn start(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, skipped: Rc::default() }
    }

    pub fn remaining(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).saturating_sub(self.skipped.get())
    }

    /// `sleep` gets the scaled time.
    pub fn wait(&self, time: Duration, sleep: &mut dyn FnMut(Duration)) {
        let real = scaled(time);
        sleep(real);
        self.skip(time - real);
    }

    /// `send` gets its deadline: `limit`, or the remaining time if that is less.
    pub fn request<T>(&self, limit: Duration, send: impl FnOnce(Instant) -> T) -> T {
        let speedup = speedup(REQUEST_SPEEDUP_ENV).or_else(|| speedup(SPEEDUP_ENV)).unwrap_or(1);
        let start = Instant::now();
        let answer = send(start + limit.min(self.remaining()) / speedup);
        self.skip(start.elapsed() * (speedup - 1));
        answer
    }

    fn skip(&self, time: Duration) {
        self.skipped.set(self.skipped.get() + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_time_counts_as_elapsed() {
        let minute = Duration::from_secs(60);
        let budget = TimeBudget::start(2 * minute);
        assert!(budget.remaining() > minute);
        budget.clone().skip(minute);
        assert!(budget.remaining() <= minute);
        let end = budget.request(2 * minute, |end| end);
        assert!(end <= Instant::now() + minute);
        budget.skip(minute);
        assert_eq!(budget.remaining(), Duration::ZERO);
    }
}
