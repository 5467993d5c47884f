//! When a machine that cannot reach the store must stop its units, so that none runs twice.
//!
//! Other machines start its units when its presence has expired. So it must have stopped them before, by its own clock,
//! unless it knows that no machine can start them. Three rules ensure this:
//!
//! - A presence expires no earlier than its TTL after the machine *sent* the last successful heartbeat. It must never
//!   count from the response.
//! - The clock includes suspend.
//! - A fleetd that could not reach the store considers no machine failed within a TTL after it can reach it again
//!   ([`crate::failure_detector`]). So if all other machines report that they cannot reach it, none takes over units
//!   within a TTL after that query.
//!
//! Not covered: a machine that joins during the partition and knows of no other.

use std::time::Duration;

/// What a machine knows for its decision. Times are of one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub now: Duration,
    /// When the last successful heartbeat was sent.
    pub last_heartbeat: Duration,
    pub ttl: Duration,
    pub others: Others,
}

/// Whether other machines could take over the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// No other machine is known.
    None,
    /// When the others were last queried and all reported that they cannot reach the store. A missing response means
    /// that a machine may reach it.
    Some { without_store_at: Option<Duration> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Units cannot be taken over. Decide again at `until`.
    KeepRunning { until: Duration },
    /// Query the others while units keep running. Decide again at `until`.
    QueryPeers { until: Duration },
    /// Stop the units, and kill what still runs at `kill_at`.
    Stop { kill_at: Duration },
    /// Kill what still runs.
    Kill,
}

impl Facts {
    /// When the others last reported that they have no store, if no heartbeat succeeded since.
    fn without_store_since(&self) -> Option<Duration> {
        match self.others {
            Others::Some { without_store_at: Some(asked_at) } if asked_at > self.last_heartbeat => {
                Some(asked_at)
            }
            _ => None,
        }
    }

    /// No machine takes over units within a TTL from this time.
    fn safe_from(&self) -> Duration {
        self.without_store_since().unwrap_or(self.last_heartbeat)
    }

    /// When the others are queried: a heartbeat, sent each half TTL, is overdue. In a healthy cluster heartbeats
    /// succeed before, so that no queries are sent, which go to all machines.
    ///
    /// If all machines lack the store they are queried more often: it may return to another machine first, and the
    /// time that this one may wait counts from the last query.
    fn query_at(&self) -> Duration {
        match self.without_store_since() {
            Some(asked_at) => asked_at + self.ttl / 5,
            None => self.last_heartbeat + self.ttl * 11 / 20,
        }
    }

    /// When units are stopped.
    fn stop_at(&self) -> Duration {
        self.safe_from() + self.ttl * 2 / 3
    }

    /// When the remaining units are killed. A tenth of the TTL is left for this, and for differences between clocks.
    fn kill_at(&self) -> Duration {
        self.safe_from() + self.ttl * 9 / 10
    }
}

/// What to do with units assigned to this machine, except for global units and those with `StopOnPartition=no`.
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

/// Whether a unit may be started: it could be stopped in time if this was the last heartbeat.
pub fn may_start(facts: &Facts) -> bool {
    facts.others == Others::None || facts.now < facts.stop_at()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    /// The heartbeat was sent at 100 s.
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
        // The next heartbeat is in flight.
        check(30, others, Decision::KeepRunning { until: at(33) });
        check(33, others, Decision::QueryPeers { until: at(40) });
        check(40, others, Decision::Stop { kill_at: at(54) });
        check(54, others, Decision::Kill);
        check(1000, others, Decision::Kill);
    }

    #[test]
    fn others_lack_the_store() {
        check(500, Others::None, Decision::KeepRunning { until: at(530) });
        // Their report counts like a heartbeat.
        let others = Others::Some { without_store_at: Some(at(500)) };
        check(501, others, Decision::KeepRunning { until: at(512) });
        check(512, others, Decision::QueryPeers { until: at(540) });
        check(540, others, Decision::Stop { kill_at: at(554) });
        // A report from before a heartbeat does not matter.
        check(
            14,
            Others::Some { without_store_at: Some(Duration::ZERO) },
            Decision::KeepRunning { until: at(33) },
        );
    }

    /// For any TTL, units are killed before the presence expires, and after they had time to stop.
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
