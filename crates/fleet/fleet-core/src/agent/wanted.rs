//! Which units belong on this machine, and in what state.

use std::collections::{BTreeMap, BTreeSet};

use unit_file::{UnitHash, UnitName, UpdatePolicy};

use crate::job_state::JobState;
use crate::machine::{Machine, MachineId};
use crate::registry::View;
use crate::schedule::Scheduler;

/// A unit that belongs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub hash: UnitHash,
    pub desired: JobState,
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

/// What belongs on `me`: units assigned to it, and global units that fit, by the scheduler's own rule. `here`
/// are the units that this machine has loaded.
pub fn wanted(view: &View, me: &Machine, here: &BTreeSet<UnitName>) -> BTreeMap<UnitName, Wanted> {
    let mut scheduler = Scheduler::new();
    scheduler.set_machine(me.clone());
    let mut wanted = BTreeMap::new();
    for unit in view.units_for(&me.id, here) {
        let Some(hash) = view.hash(&unit.name) else { continue };
        let mine = unit.target.as_ref() == Some(&me.id);
        if unit.wanted.global || mine {
            if here.contains(&unit.name) {
                scheduler.set_held(&unit.name, &me.id, true);
            }
            scheduler.set_unit(unit.clone());
        }
        if mine && !unit.wanted.global && unit.is_asked_for() {
            let waits =
                !unit.wanted.overlap && here.contains(&unit.name) && view.is_elsewhere(&unit.name, &me.id);
            let hold = waits.then_some(Hold::Elsewhere);
            wanted.insert(unit.name, Wanted { hash, desired: unit.desired, hold });
        } else if unit.wanted.overlap
            && here.contains(&unit.name)
            && unit.target.as_ref().is_some_and(|target| !is_active(view, &unit.name, target))
        {
            wanted.insert(unit.name, Wanted { hash, desired: unit.desired, hold: Some(Hold::Handover) });
        }
    }
    for name in scheduler.globals_of(&me.id) {
        let (Some(unit), Some(hash)) = (view.unit(&name), view.hash(&name)) else { continue };
        let permitted = view
            .rollout(&name)
            .is_some_and(|rollout| rollout.hash == hash && rollout.machines.contains(&me.id));
        let waits = unit.wanted.update == UpdatePolicy::Rolling && here.contains(&name) && !permitted;
        wanted.insert(name, Wanted { hash, desired: unit.desired, hold: waits.then_some(Hold::Rollout) });
    }
    wanted
}

/// Also where the other machine is gone: then there is nobody to wait for, but the target changes soon.
fn is_active(view: &View, name: &UnitName, machine: &MachineId) -> bool {
    view.state(name, machine).is_some_and(|state| state.active == "active")
}
