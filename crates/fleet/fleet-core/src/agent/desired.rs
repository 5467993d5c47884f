//! The units that belong on a machine, and their states.

use std::collections::{BTreeMap, BTreeSet};

use unit_file::{UnitHash, UnitName, UpdatePolicy};

use crate::job_state::JobState;
use crate::machine::{Machine, MachineId};
use crate::registry::View;
use crate::schedule::Scheduler;

/// A unit that belongs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredUnit {
    pub hash: UnitHash,
    pub state: JobState,
    /// Why the local unit must not be changed yet.
    pub hold: Option<Hold>,
}

/// Why a local unit is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A rolling update has not reached this machine.
    Rollout,
    /// The unit was moved with overlap, and the other one is not active yet.
    Handover,
    /// The new version may not overlap, and another machine still runs the old one, which may.
    Elsewhere,
}

/// Units assigned to `machine` and eligible global units, by the scheduler's rules. `local` are the units that the
/// machine has loaded.
pub fn desired_units(
    view: &View,
    machine: &Machine,
    local: &BTreeSet<UnitName>,
) -> BTreeMap<UnitName, DesiredUnit> {
    let mut scheduler = Scheduler::new();
    scheduler.set_machine(machine.clone());
    let mut desired_units = BTreeMap::new();
    for unit in view.units_for(&machine.id, local) {
        let Some(hash) = view.hash(&unit.name) else { continue };
        let is_assigned = unit.target.as_ref() == Some(&machine.id);
        if unit.requirements.global || is_assigned {
            if local.contains(&unit.name) {
                scheduler.set_held(&unit.name, &machine.id, true);
            }
            scheduler.set_unit(unit.clone());
        }
        if is_assigned && !unit.requirements.global && unit.is_desired() {
            let must_wait = !unit.requirements.overlap
                && local.contains(&unit.name)
                && view.is_loaded_elsewhere(&unit.name, &machine.id);
            let hold = must_wait.then_some(Hold::Elsewhere);
            desired_units.insert(unit.name, DesiredUnit { hash, state: unit.desired, hold });
        } else if unit.requirements.overlap
            && local.contains(&unit.name)
            && unit.target.as_ref().is_some_and(|target| !is_active(view, &unit.name, target))
        {
            desired_units
                .insert(unit.name, DesiredUnit { hash, state: unit.desired, hold: Some(Hold::Handover) });
        }
    }
    for name in scheduler.globals_of(&machine.id) {
        let (Some(unit), Some(hash)) = (view.unit(&name), view.hash(&name)) else { continue };
        let permitted = view
            .rollout(&name)
            .is_some_and(|rollout| rollout.hash == hash && rollout.machines.contains(&machine.id));
        let must_wait =
            unit.requirements.update == UpdatePolicy::Rolling && local.contains(&name) && !permitted;
        desired_units.insert(
            name,
            DesiredUnit { hash, state: unit.desired, hold: must_wait.then_some(Hold::Rollout) },
        );
    }
    desired_units
}

/// Also false if the other machine has failed. Its target changes soon.
fn is_active(view: &View, name: &UnitName, machine: &MachineId) -> bool {
    view.state(name, machine).is_some_and(|state| state.active == "active")
}
