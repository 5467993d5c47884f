//! When a machine that cannot reach the store must stop its units, so that none runs twice.
//!
//! Others start a machine's units when its presence has expired. So the machine must have stopped them before
//! that, on its own clock, unless it knows that nobody can start them. This holds by three rules:
//!
//! - A presence expires no earlier than its TTL after the machine *sent* the beat that last succeeded. It must
//!   never count from the answer.
//! - The clock goes on while the machine sleeps.
//! - A fleetd that had no store takes no machine for dead within a TTL after it got the store back
//!   ([`crate::failure_detector`]). So if every other machine says that it has none, nobody takes anything over
//!   within a TTL after they were asked.
//!
//! It does not protect from a machine that joins while this one is cut off and knows of no other.

use std::time::Duration;

/// What a machine knows when it decides. Times are of one clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub now: Duration,
    /// When the beat was sent that was last known to succeed.
    pub last_heartbeat: Duration,
    pub ttl: Duration,
    pub others: Others,
}

/// Whether anybody could take the units over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// It is the only machine that it knows of.
    None,
    /// When they were last asked whether they have the store and every one of them answered that it has not.
    /// No answer is an answer that it may have it.
    Some { without_store_at: Option<Duration> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nobody can take units over. Look again at `until`.
    KeepRunning { until: Duration },
    /// Ask the others whether they have the store; units run on meanwhile. Look again at `until`.
    QueryPeers { until: Duration },
    /// Stop the units, in order; what still runs at `kill_at` is killed.
    Stop { kill_at: Duration },
    /// Kill what still runs.
    Kill,
}

impl Facts {
    /// When the others last said that they are without a store, where no beat succeeded since.
    fn without_store_since(&self) -> Option<Duration> {
        match self.others {
            Others::Some { without_store_at: Some(asked_at) } if asked_at > self.last_heartbeat => {
                Some(asked_at)
            }
            _ => None,
        }
    }

    /// Nobody takes anything over within a TTL from here.
    fn safe_from(&self) -> Duration {
        self.without_store_since().unwrap_or(self.last_heartbeat)
    }

    /// From here on the others are asked: a beat, which comes each half TTL, is overdue. One that comes in time
    /// is answered before: in a healthy cluster nobody asks, as each question goes to all.
    ///
    /// Where all were without a store they are asked again sooner. It comes back at one machine earlier than at
    /// another, and how long this one may wait for it counts from the others' last word.
    fn query_at(&self) -> Duration {
        match self.without_store_since() {
            Some(asked_at) => asked_at + self.ttl / 5,
            None => self.last_heartbeat + self.ttl * 11 / 20,
        }
    }

    /// From here on units are stopped.
    fn stop_at(&self) -> Duration {
        self.safe_from() + self.ttl * 2 / 3
    }

    /// From here on what still runs is killed: a tenth of the TTL is left for that, and for clocks that differ.
    fn kill_at(&self) -> Duration {
        self.safe_from() + self.ttl * 9 / 10
    }
}

/// What to do with the units assigned to this machine. Global units, and those with `StopOnPartition=no`, are
/// not meant: they run on.
pub fn decide(facts: &Facts) -> Decision {
    if facts.others == Others::None {
        return Decision::KeepRunning { until: facts.now + facts.ttl / 2 };
    }
    match facts.now {
        now if now < facts.query_at() => Decision::KeepRunning { until: facts.query_at() },
        now if now < facts.stop_at() => Decision::QueryPeers { until: facts.stop_at() },
        now if now < facts.kill_at() => Decision::Stop { kill_at: facts.kill_at() },
        _ => Decision::Kill,
    }
}

/// Whether a unit may be started now: it would be down again in time if this were the last beat.
pub fn may_start(facts: &Facts) -> bool {
    facts.others == Others::None || facts.now < facts.stop_at()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    /// The beat was sent at 100 s.
    fn at(second: u64) -> Duration {
        Duration::from_secs(100 + second)
    }

    fn check(after: u64, others: Others, expected: Decision) {
        let facts = Facts { now: at(after), last_heartbeat: at(0), ttl: TTL, others };
        assert_eq!(decide(&facts), expected, "{after} s, {others:?}");
    }

    #[test]
    fn others_may_have_the_store() {
        let others = Others::Some { without_store_at: None };
        check(0, others, Decision::KeepRunning { until: at(33) });
        // The next beat is on its way.
        check(30, others, Decision::KeepRunning { until: at(33) });
        check(33, others, Decision::QueryPeers { until: at(40) });
        check(40, others, Decision::Stop { kill_at: at(54) });
        check(54, others, Decision::Kill);
        check(1000, others, Decision::Kill);
    }

    #[test]
    fn others_lack_the_store() {
        check(500, Others::None, Decision::KeepRunning { until: at(530) });
        // Their word is good for as long as a beat would be.
        let others = Others::Some { without_store_at: Some(at(500)) };
        check(501, others, Decision::KeepRunning { until: at(512) });
        check(512, others, Decision::QueryPeers { until: at(540) });
        check(540, others, Decision::Stop { kill_at: at(554) });
        // An old word takes nothing from a newer beat.
        check(
            14,
            Others::Some { without_store_at: Some(Duration::ZERO) },
            Decision::KeepRunning { until: at(33) },
        );
    }

    /// Whatever the TTL is, what must be down is killed before the presence can expire, and after it was asked
    /// to stop.
    #[test]
    fn killed_before_the_presence_expires() {
        for millis in [1_000, 3_000, 30_000, 3_600_000] {
            let (ttl, others) = (Duration::from_millis(millis), Others::Some { without_store_at: None });
            let facts = Facts { now: Duration::ZERO, last_heartbeat: Duration::ZERO, ttl, others };
            assert!(
                ttl / 2 < facts.query_at()
                    && facts.query_at() < facts.stop_at()
                    && facts.stop_at() < facts.kill_at()
            );
            assert!(facts.kill_at() <= ttl - ttl / 10);
            assert!(may_start(&facts) && !may_start(&Facts { now: facts.stop_at(), ..facts }));
        }
    }
}
