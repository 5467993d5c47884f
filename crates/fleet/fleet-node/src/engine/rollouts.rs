//! Rollouts of global units with `UpdatePolicy=rolling`: which machine may run the new version next.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::registry::{Rollout, View};
use fleet_core::rollout::{Facts, Progress, Step, WaitReason, step};
use fleet_core::{JobState, MachineId, Unit};
use unit_file::{UnitName, UpdatePolicy};

use crate::limits::SETTLE_TIME;

#[derive(Default)]
pub struct Rollouts {
    /// State of each unit on each machine, and since when.
    observed: BTreeMap<UnitName, BTreeMap<MachineId, Progress>>,
    next: Option<Duration>,
    /// Halted rollouts that are logged already.
    halted: BTreeMap<UnitName, MachineId>,
}

impl Rollouts {
    /// When to run the next step without an event.
    pub fn next(&self) -> Option<Duration> {
        self.next
    }

    pub fn step(&mut self, view: &View, now: Duration) -> Vec<(UnitName, Rollout)> {
        let mut permitted = Vec::new();
        let mut before = std::mem::take(&mut self.observed);
        self.next = None;
        let rolling =
            |unit: &Unit| unit.requirements.global && unit.requirements.update == UpdatePolicy::Rolling;
        for unit in view.units().filter(|unit| rolling(unit) && unit.is_desired()) {
            let machines = progress(view, &unit.name, &before.remove(&unit.name).unwrap_or_default(), now);
            let Some(hash) = view.hash(&unit.name) else { continue };
            let facts = Facts {
                now,
                hash,
                launched: unit.desired == JobState::Launched,
                settle: SETTLE_TIME,
                machines: &machines,
                recorded: view.rollout(&unit.name),
            };
            let outcome = step(&facts);
            if !matches!(outcome, Step::Halt { .. }) {
                self.halted.remove(&unit.name);
            }
            match outcome {
                Step::Permit(rollout) => permitted.push((unit.name.clone(), rollout)),
                Step::Wait { reason: WaitReason::Settling { until }, .. } => {
                    self.next = Some(self.next.map_or(until, |next| next.min(until)));
                }
                Step::Halt { machine } => self.log_halt(&unit.name, machine),
                Step::Wait { .. } | Step::Done => {}
            }
            self.observed.insert(unit.name, machines);
        }
        permitted
    }

    fn log_halt(&mut self, unit: &UnitName, machine: MachineId) {
        if self.halted.get(unit) != Some(&machine) {
            tracing::error!(
                "the new text of Unit({unit}) does not run on Machine({machine}): no other machine gets it"
            );
            self.halted.insert(unit.clone(), machine);
        }
    }
}

/// State of the unit on present machines.
fn progress(
    view: &View,
    name: &UnitName,
    before: &BTreeMap<MachineId, Progress>,
    now: Duration,
) -> BTreeMap<MachineId, Progress> {
    let progress_of = |id: MachineId| {
        let state = view.state(name, &id)?;
        let (active, refused) = (state.active.clone(), state.refusal.is_some());
        let old = before.get(&id).filter(|old| old.hash == state.hash && old.active == active);
        let since = old.map_or(now, |old| old.since);
        Some((id, Progress { hash: state.hash, active, refused, since }))
    };
    view.machines().filter_map(|machine| progress_of(machine.id)).collect()
}
