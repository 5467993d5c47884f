//! Which units belong on this machine, and in what state.

use std::collections::{BTreeMap, BTreeSet};

use unit_file::{UnitHash, UnitName, UpdatePolicy};

use crate::job_state::JobState;
use crate::machine::{Machine, MachineId};
use crate::registry::View;
use crate::schedule::Scheduler;

/// A unit that belongs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredUnit {
    pub hash: UnitHash,
    pub state: JobState,
    /// Something that is here already must stay as it is for a while.
    pub hold: Option<Hold>,
}

/// Why a unit that is here is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Its new text comes to one machine after the other, and it is not this one's turn.
    Rollout,
    /// It was moved, may overlap, and the new one is not active yet.
    Handover,
    /// Its new text may not overlap, and another machine has not ended what it had while two were allowed to.
    Elsewhere,
}

/// What belongs on `machine`: units assigned to it, and global units that fit, by the scheduler's own rule. `local`
/// are the units that this machine has loaded.
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

/// Also where the other machine is gone: then there is nobody to wait for, but the target changes soon.
fn is_active(view: &View, name: &UnitName, machine: &MachineId) -> bool {
    view.state(name, machine).is_some_and(|state| state.active == "active")
}
