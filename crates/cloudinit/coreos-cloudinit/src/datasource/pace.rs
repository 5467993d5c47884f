//! How long everything that waits may wait.
//!
//! The contract's times are minutes; a test that sees a run give up cannot wait that long. What it does not wait is
//! counted as gone by, so that how often something is tried does not depend on how busy the machine is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// For tests only: all waits and limits are divided by this number.
const HASTE_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_HASTE";
/// For tests only: what one request may take is divided by this number instead.
const REQUEST_HASTE_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_REQUEST_HASTE";
const MOST_HASTE: u32 = 1000;

fn haste(variable: &str) -> Option<u32> {
    let haste = std::env::var(variable).ok()?.parse::<u32>().ok()?;
    Some(haste.clamp(1, MOST_HASTE))
}

/// `time`, or less where a test is in haste.
pub(super) fn paced(time: Duration) -> Duration {
    time / haste(HASTE_VARIABLE).unwrap_or(1)
}

/// What is left of a time. Clones share it.
#[derive(Clone)]
pub(super) struct Countdown {
    end: Instant,
    /// What a test in haste did not wait.
    skipped: Rc<Cell<Duration>>,
}

impl Countdown {
    pub fn start(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, skipped: Rc::default() }
    }

    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).saturating_sub(self.skipped.get())
    }

    /// `sleep` is given what is really to be waited.
    pub fn wait(&self, time: Duration, sleep: &mut dyn FnMut(Duration)) {
        let real = paced(time);
        sleep(real);
        self.skip(time - real);
    }

    /// `ask` is given when it has to have ended: after `limit`, or what is left if that is less.
    pub fn request<T>(&self, limit: Duration, ask: impl FnOnce(Instant) -> T) -> T {
        let haste = haste(REQUEST_HASTE_VARIABLE).or_else(|| haste(HASTE_VARIABLE)).unwrap_or(1);
        let start = Instant::now();
        let answer = ask(start + limit.min(self.left()) / haste);
        self.skip(start.elapsed() * (haste - 1));
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
    fn what_is_skipped_is_gone_by() {
        let minute = Duration::from_secs(60);
        let countdown = Countdown::start(2 * minute);
        assert!(countdown.left() > minute);
        countdown.clone().skip(minute);
        assert!(countdown.left() <= minute);
        let end = countdown.request(2 * minute, |end| end);
        assert!(end <= Instant::now() + minute);
        countdown.skip(minute);
        assert_eq!(countdown.left(), Duration::ZERO);
    }
}
