//! Schedule of update checks (contract 2.5). The caller provides the random number.

use std::time::Duration;

/// Check intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Until the first check after the start.
    pub initial: Duration,
    /// Between checks.
    pub periodic: Duration,
    /// Width of the random window around both, so that machines that started together do not check together.
    pub fuzz: Duration,
}

/// Those of CoreOS.
pub const INTERVALS: Intervals = Intervals {
    initial: Duration::from_secs(7 * 60),
    periodic: Duration::from_secs(45 * 60),
    fuzz: Duration::from_secs(10 * 60),
};
/// Maximum interval of a busy server, or one that requests an interval.
const MAX_BACKOFF: Duration = Duration::from_secs(4 * 60 * 60);
/// Maximum interval after a failed attempt. CoreOS waited up to sixteen days.
const MAX_RETRY: Duration = Duration::from_secs(60 * 60);

/// Result of the last check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastCheck {
    /// No check since the start.
    None,
    /// The server responded, with an interval if it requested one.
    Answered {
        /// `None`: the usual interval.
        poll: Option<Duration>,
    },
    /// Consecutive responses with HTTP status 500 or 503.
    Busy {
        /// From 1.
        times: u32,
    },
    /// The server responded; consecutive failures to install its offer.
    Failed {
        /// From 1.
        times: u32,
    },
}

/// Time until the next check. `chance` is between 0 and 1.
#[must_use]
pub fn delay(last: LastCheck, intervals: &Intervals, chance: f64) -> Duration {
    let (middle, fuzz) = match last {
        LastCheck::None => (intervals.initial, intervals.fuzz),
        LastCheck::Answered { poll: None } => (intervals.periodic, intervals.fuzz),
        LastCheck::Answered { poll: Some(poll) } => {
            (poll.clamp(intervals.periodic, MAX_BACKOFF.max(intervals.periodic)), intervals.fuzz)
        }
        LastCheck::Busy { times } => {
            let backoff = doubled(intervals.periodic, times).min(MAX_BACKOFF.max(intervals.periodic));
            (backoff, backoff)
        }
        LastCheck::Failed { times } => {
            let minutes = doubled(Duration::from_secs(60), times.saturating_sub(1));
            let retry = minutes.min(MAX_RETRY).min(intervals.periodic);
            (retry, retry / 4)
        }
    };
    let fuzz = fuzz.min(middle * 2);
    middle.saturating_sub(fuzz / 2) + fuzz.mul_f64(chance.clamp(0.0, 1.0))
}

fn doubled(base: Duration, times: u32) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(times.min(16)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_spread_around_the_intervals_of_the_contract() {
        let minutes = |last, chance| delay(last, &INTERVALS, chance).as_secs_f64() / 60.0;
        let check = |last, from: f64, to: f64| {
            assert!((minutes(last, 0.0) - from).abs() < 1e-6, "{last:?}: {}", minutes(last, 0.0));
            assert!((minutes(last, 1.0) - to).abs() < 1e-6, "{last:?}: {}", minutes(last, 1.0));
        };
        let poll = |minutes: u64| LastCheck::Answered { poll: Some(Duration::from_secs(minutes * 60)) };
        check(LastCheck::None, 2.0, 12.0);
        check(LastCheck::Answered { poll: None }, 40.0, 50.0);
        check(poll(1), 40.0, 50.0);
        check(poll(60), 55.0, 65.0);
        check(poll(60 * 24), 235.0, 245.0);
        check(LastCheck::Busy { times: 1 }, 45.0, 135.0);
        check(LastCheck::Busy { times: 30 }, 120.0, 360.0);
        check(LastCheck::Failed { times: 1 }, 0.875, 1.125);
        check(LastCheck::Failed { times: 30 }, 45.0 * 0.875, 45.0 * 1.125);
    }

    #[test]
    fn short_intervals_are_respected() {
        let second = Duration::from_secs(1);
        let fast = Intervals { initial: second, periodic: second, fuzz: Duration::ZERO };
        for last in [LastCheck::None, LastCheck::Answered { poll: None }, LastCheck::Failed { times: 9 }] {
            assert!(delay(last, &fast, 1.0) <= Duration::from_millis(1125), "{last:?}");
        }
    }
}
