//! Rolling updates of global units: the next machine gets the new version when the previous one has been active for a
//! while.

use std::collections::BTreeMap;
use std::time::Duration;

use unit_file::UnitHash;

use crate::machine::MachineId;
use crate::registry::Rollout;

/// State of the unit on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Of the loaded version.
    pub hash: UnitHash,
    /// systemd's ActiveState.
    pub active: String,
    /// The machine could not load or start it.
    pub refused: bool,
    /// Since when, on the caller's clock.
    pub since: Duration,
}

/// Facts for the next step.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub now: Duration,
    /// The new version.
    pub hash: UnitHash,
    /// Whether the unit is to be started. Otherwise a loaded unit is finished.
    pub launched: bool,
    /// How long a unit must be active.
    pub settle: Duration,
    /// Present machines that have the unit.
    pub machines: &'a BTreeMap<MachineId, Progress>,
    /// The permits in the store.
    pub recorded: Option<&'a Rollout>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write this permit for one more machine.
    Permit(Rollout),
    /// A machine is not finished.
    Wait {
        machine: MachineId,
        reason: WaitReason,
    },
    /// The new version fails: no other machine gets it until it runs, or until there is another version.
    Halt {
        machine: MachineId,
    },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// It has the old version.
    NewText,
    /// It is not active.
    Start,
    /// It has not been active long enough.
    Settling { until: Duration },
}

/// Multiples of the settle time after which an inactive unit counts as finished: it ended, or was stopped manually.
const ENDED_SETTLE_FACTOR: u32 = 6;

/// The next step. Machines are updated in the order of their ids.
pub fn step(facts: &Facts<'_>) -> Step {
    // Permits of other versions do not count.
    let mut permitted: Vec<MachineId> = facts
        .recorded
        .filter(|recorded| recorded.hash == facts.hash)
        .map(|recorded| recorded.machines.clone())
        .unwrap_or_default();
    for (machine, progress) in facts.machines {
        let is_permitted = permitted.contains(machine);
        match check_progress(facts, progress) {
            Ok(()) => {}
            Err(_) if progress.hash == facts.hash && (progress.refused || progress.active == "failed") => {
                return Step::Halt { machine: machine.clone() };
            }
            Err(reason) if is_permitted || reason != WaitReason::NewText => {
                return Step::Wait { machine: machine.clone(), reason };
            }
            Err(_) => {}
        }
    }
    let next = facts.machines.iter().find(|(_, progress)| progress.hash != facts.hash);
    match next {
        None => Step::Done,
        Some((machine, _)) => {
            permitted.push(machine.clone());
            Step::Permit(Rollout { hash: facts.hash, machines: permitted })
        }
    }
}

fn check_progress(facts: &Facts<'_>, progress: &Progress) -> Result<(), WaitReason> {
    if progress.hash != facts.hash {
        return Err(WaitReason::NewText);
    }
    if !facts.launched {
        return Ok(());
    }
    let until = match progress.active.as_str() {
        "active" => progress.since + facts.settle,
        "inactive" if !progress.refused => progress.since + facts.settle * ENDED_SETTLE_FACTOR,
        _ => return Err(WaitReason::Start),
    };
    if facts.now < until { Err(WaitReason::Settling { until }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: UnitHash = UnitHash([1; 20]);
    const NEW: UnitHash = UnitHash([2; 20]);

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// `machines`: id, whether it has the new version, state, since.
    fn check(
        now: u64,
        machines: &[(&str, bool, &str, u64)],
        permitted: &[&str],
        of: UnitHash,
        expected: Step,
    ) {
        let machines = machines.iter().map(|(id, new, active, since)| {
            let hash = if *new { NEW } else { OLD };
            let refused = *active == "refused";
            let active = if refused { "inactive" } else { active };
            (MachineId::new(id), Progress { hash, active: active.into(), refused, since: at(*since) })
        });
        let machines = machines.collect();
        let recorded =
            Rollout { hash: of, machines: permitted.iter().map(|id| MachineId::new(id)).collect() };
        let facts = Facts {
            now: at(now),
            hash: NEW,
            launched: true,
            settle: at(5),
            machines: &machines,
            recorded: Some(&recorded),
        };
        assert_eq!(step(&facts), expected);
    }

    fn permit(machines: &[&str]) -> Step {
        Step::Permit(Rollout { hash: NEW, machines: machines.iter().map(|id| MachineId::new(id)).collect() })
    }

    fn wait(machine: &str, reason: WaitReason) -> Step {
        Step::Wait { machine: MachineId::new(machine), reason }
    }

    #[test]
    fn machines_are_updated_one_by_one() {
        let old = ("a", false, "active", 0);
        check(9, &[old, ("b", false, "active", 0)], &["b"], OLD, permit(&["a"]));
        check(9, &[old, ("b", false, "active", 0)], &["a"], NEW, wait("a", WaitReason::NewText));
        let starting = [("a", true, "activating", 9), ("b", false, "active", 0)];
        check(9, &starting, &["a"], NEW, wait("a", WaitReason::Start));
        let started = [("a", true, "active", 9), ("b", false, "active", 0)];
        check(13, &started, &["a"], NEW, wait("a", WaitReason::Settling { until: at(14) }));
        check(14, &started, &["a"], NEW, permit(&["a", "b"]));
        check(30, &[("a", true, "active", 9), ("b", true, "active", 20)], &["a", "b"], NEW, Step::Done);
        check(30, &[], &[], NEW, Step::Done);
    }

    /// A failed old version does not block: the new one may fix it.
    #[test]
    fn a_failed_old_version_does_not_block() {
        check(9, &[("a", false, "failed", 0)], &[], OLD, permit(&["a"]));
    }

    #[test]
    fn a_failed_new_version_halts() {
        let machines = [("a", true, "failed", 9), ("b", false, "active", 0)];
        check(60, &machines, &["a"], NEW, Step::Halt { machine: MachineId::new("a") });
        // Also on a machine without a permit.
        let machines = [("a", false, "active", 9), ("b", true, "failed", 0)];
        check(60, &machines, &[], NEW, Step::Halt { machine: MachineId::new("b") });
    }

    #[test]
    fn one_that_ends_or_is_stopped_does_not_stop_it_and_a_refused_one_does() {
        let ended = [("a", true, "inactive", 9), ("b", false, "active", 0)];
        check(13, &ended, &["a"], NEW, wait("a", WaitReason::Settling { until: at(39) }));
        check(39, &ended, &["a"], NEW, permit(&["a", "b"]));
        let refused = [("a", true, "refused", 9), ("b", false, "active", 0)];
        check(60, &refused, &["a"], NEW, Step::Halt { machine: MachineId::new("a") });
    }
}
