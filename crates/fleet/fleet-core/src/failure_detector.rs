//! When a machine without a presence is considered failed.
//!
//! Usually immediately: the presence's TTL was the grace period. Two exceptions avoid needless moves. After the store
//! was unreachable no machine could renew its presence. And when many machines are missing at the same time, the
//! likely cause is something they share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::MachineId;

/// More than one in this many machines missing within a TTL is a mass failure.
const MASS_FAILURE_SHARE: usize = 3;

/// The leader's record of missing machines. Times are of one monotonic clock.
#[derive(Debug, Clone)]
pub struct FailureDetector {
    ttl: Duration,
    /// No machine is considered failed before.
    grace_until: Duration,
    present: BTreeSet<MachineId>,
    /// Missing machines that are not considered failed yet, and since when.
    unreachable: BTreeMap<MachineId, Duration>,
    /// Machines that were considered failed within the last TTL, and since when.
    failed: BTreeMap<MachineId, Duration>,
}

/// The current classification of machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// They keep their units and get no new ones.
    pub unreachable: BTreeSet<MachineId>,
    /// Considered failed within the last TTL: their units may run elsewhere.
    pub failed: BTreeSet<MachineId>,
    /// Many machines are missing: only one per TTL is considered failed. Should be logged.
    pub mass_failure: bool,
    /// When to call [`FailureDetector::step`] without an event.
    pub next: Option<Duration>,
}

impl FailureDetector {
    /// `store_was_unreachable`: no engine could renew the lease for longer than its TTL before this one became
    /// leader, or this machine had no store within the last TTL and may have reported so to peers. `assigned` are the
    /// machines with assigned units.
    pub fn new(
        now: Duration,
        ttl: Duration,
        store_was_unreachable: bool,
        assigned: impl IntoIterator<Item = MachineId>,
    ) -> Self {
        let grace_until = if store_was_unreachable { now + ttl } else { now };
        // The first step removes those that are not present.
        let present = assigned.into_iter().collect();
        Self { ttl, grace_until, present, unreachable: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Updates the classification with the machines that are present now.
    pub fn step(&mut self, now: Duration, present: &BTreeSet<MachineId>) -> Step {
        for missing in self.present.difference(present) {
            self.unreachable.entry(missing.clone()).or_insert(now);
        }
        self.unreachable.retain(|id, _| !present.contains(id));
        let recent = |since: &Duration| now.saturating_sub(*since) < self.ttl;
        self.failed.retain(|id, since| !present.contains(id) && recent(since));
        self.present = present.clone();
        if now < self.grace_until {
            return self.result(false, Some(self.grace_until));
        }
        let missing = self.unreachable.len() + self.failed.len();
        let mass_failure =
            !self.unreachable.is_empty() && missing * MASS_FAILURE_SHARE > missing + self.present.len();
        if mass_failure && !self.failed.is_empty() {
            let next = self.failed.values().max().map(|last| *last + self.ttl);
            return self.result(true, next);
        }
        // Missing for the longest time first, then by id.
        let mut order: Vec<_> = self.unreachable.iter().map(|(id, since)| (*since, id.clone())).collect();
        order.sort();
        order.truncate(if mass_failure { 1 } else { order.len() });
        for (_, id) in order {
            self.unreachable.remove(&id);
            self.failed.insert(id, now);
        }
        let next = (!self.unreachable.is_empty()).then_some(now + self.ttl);
        self.result(mass_failure, next)
    }

    fn result(&self, mass_failure: bool, next: Option<Duration>) -> Step {
        let (unreachable, failed) =
            (self.unreachable.keys().cloned().collect(), self.failed.keys().cloned().collect());
        Step { unreachable, failed, mass_failure, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn ids(letters: &str) -> BTreeSet<MachineId> {
        letters.chars().map(|letter| MachineId::new(&letter.to_string())).collect()
    }

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// `steps`: second, present machines; expected unreachable and failed machines, and whether it is a mass failure.
    fn check(assigned: &str, lapsed: bool, steps: &[(u64, &str, &str, &str, bool)]) {
        let mut detector = FailureDetector::new(at(0), TTL, lapsed, ids(assigned));
        for (second, present, unreachable, failed, mass_failure) in steps {
            let step = detector.step(at(*second), &ids(present));
            assert_eq!(step.unreachable, ids(unreachable), "away at {second} s");
            assert_eq!(step.failed, ids(failed), "dead at {second} s");
            assert_eq!(step.mass_failure, *mass_failure, "accident at {second} s");
            assert!(step.unreachable.is_empty() || step.next > Some(at(*second)), "{step:?}");
        }
    }

    #[test]
    fn one_of_three_fails_immediately() {
        check(
            "abc",
            false,
            &[(1, "abc", "", "", false), (5, "ac", "", "b", false), (6, "abc", "", "", false)],
        );
    }

    #[test]
    fn a_machine_that_was_missing_before_this_leader() {
        check("abc", false, &[(1, "ab", "", "c", false)]);
    }

    /// Missing machines get a TTL to return after the store was unreachable.
    #[test]
    fn after_the_store_was_away() {
        check(
            "abc",
            true,
            &[(1, "a", "bc", "", false), (20, "ab", "c", "", false), (30, "ab", "", "c", false)],
        );
    }

    #[test]
    fn many_at_once_are_given_up_one_by_one() {
        check(
            "abcdef",
            false,
            &[
                (1, "abcdef", "", "", false),
                (10, "abc", "ef", "d", true),
                (39, "abc", "ef", "d", true),
                (40, "abc", "f", "e", true),
                (60, "abcf", "", "e", false),
                (70, "abcf", "", "", false),
            ],
        );
    }

    /// Also if they fail shortly after each other.
    #[test]
    fn many_in_short_time() {
        check(
            "abc",
            false,
            &[(1, "abc", "", "", false), (2, "ab", "", "c", false), (3, "a", "b", "c", true)],
        );
    }
}
