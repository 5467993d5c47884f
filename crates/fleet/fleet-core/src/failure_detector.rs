//! When a machine whose presence has ended is taken for dead.
//!
//! At once, as a rule: the presence's TTL was its grace. But when the store was away no machine could renew
//! anything, and then all that are late would be moved for nothing; and when many go at the same time, the
//! cause is more likely what they share than all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::MachineId;

/// Of the machines that were there, more than one in so many going within a TTL is an accident.
const MASS_FAILURE_SHARE: usize = 3;

/// The leader's memory of who went when. Times are of one clock that never goes back.
#[derive(Debug, Clone)]
pub struct FailureDetector {
    ttl: Duration,
    /// Nobody is taken for dead before.
    grace_until: Duration,
    present: BTreeSet<MachineId>,
    /// Not present any more, and not yet taken for dead; since when.
    unreachable: BTreeMap<MachineId, Duration>,
    /// Taken for dead within the last TTL, and when.
    failed: BTreeMap<MachineId, Duration>,
}

/// Who is what now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Keep their units, and get none.
    pub unreachable: BTreeSet<MachineId>,
    /// Their units may run elsewhere: those taken for dead within the last TTL.
    pub failed: BTreeSet<MachineId>,
    /// Many went at once: one machine is given up each TTL. Somebody should be told.
    pub mass_failure: bool,
    /// When to look again although nothing happened.
    pub next: Option<Duration>,
}

impl FailureDetector {
    /// `store_was_unreachable`: nobody could renew the lease for longer than its TTL before this engine got to lead, or
    /// this machine itself had no store within the last TTL, and may have told others so. `assigned` are the
    /// machines that units are assigned to.
    pub fn new(
        now: Duration,
        ttl: Duration,
        store_was_unreachable: bool,
        assigned: impl IntoIterator<Item = MachineId>,
    ) -> Self {
        let grace_until = if store_was_unreachable { now + ttl } else { now };
        // That they are here is seen, or not, in the first step.
        let present = assigned.into_iter().collect();
        Self { ttl, grace_until, present, unreachable: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Takes in who is present now.
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
        // The one that is longest away, then the smallest id.
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

    /// `steps` are: second, who is present; who is away, who is dead, whether it is an accident.
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
    fn one_of_three_is_dead_at_once() {
        check(
            "abc",
            false,
            &[(1, "abc", "", "", false), (5, "ac", "", "b", false), (6, "abc", "", "", false)],
        );
    }

    #[test]
    fn a_machine_that_was_gone_before_this_leader_came() {
        check("abc", false, &[(1, "ab", "", "c", false)]);
    }

    /// The store was away: late machines get a TTL to come back.
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

    /// Also where they go one after the other, but quickly.
    #[test]
    fn many_in_short_time() {
        check(
            "abc",
            false,
            &[(1, "abc", "", "", false), (2, "ab", "", "c", false), (3, "a", "b", "c", true)],
        );
    }
}
