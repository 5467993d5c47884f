//! One scheduling pass.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use unit_file::UnitName;

use crate::machine::{Cordon, MachineId};
use crate::schedule::eligibility::Stage;
use crate::schedule::patterns::PatternId;
use crate::schedule::peer_group::Eviction;
use crate::schedule::scheduler::{Scheduler, Slot, UnitState};
use crate::schedule::task::{Reason, Task};

/// What determines the eligible machines of a unit without individual constraints.
type PlacementClass =
    (Vec<PatternId>, Vec<PatternId>, BTreeMap<String, BTreeSet<String>>, Option<u64>, Option<u64>);

impl Scheduler {
    /// The tasks to execute, in order. They are assumed to succeed.
    pub fn pass(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        self.clear_stale_targets(&mut tasks);
        self.unschedule_from_failed_machines(&mut tasks);
        let mut changed_slots = self.recheck_machines(&mut tasks);
        // After a change, units that could not move before may move now.
        if self.retry {
            changed_slots.extend(self.slots.values());
        }
        self.place_waiting(&mut tasks);
        changed_slots.extend(&self.dirty);
        // Last, so that no unit leaves for resources that are taken in the same pass.
        let mut reserved = Vec::new();
        let by_id: Vec<_> = self.slots.values().copied().collect();
        for slot in by_id {
            // Units that left another machine may have made room.
            if self.retry || changed_slots.contains(&slot) {
                self.evict(slot, &mut reserved, &mut tasks);
            }
        }
        for name in reserved {
            self.unplace(&name);
        }
        self.recheck_machines(&mut tasks);
        tasks
    }

    /// Units that are not desired any more or have become global have no target.
    fn clear_stale_targets(&mut self, tasks: &mut Vec<Task>) {
        for name in std::mem::take(&mut self.stale_targets) {
            let Some(state) = self.units.get_mut(&name) else { continue };
            let Some(machine) = state.unit.target.take() else { continue };
            let reason = if state.unit.is_desired() { Reason::Global } else { Reason::Inactive };
            tasks.push(Task::Unschedule { unit: name, machine, reason });
        }
    }

    /// Unschedules units of failed machines, except for pinned ones. They wait for confirmation: a machine that has
    /// registered meanwhile may have claimed one and must stop it first.
    fn unschedule_from_failed_machines(&mut self, tasks: &mut Vec<Task>) {
        let mut lost: Vec<(UnitName, MachineId)> = Vec::new();
        for (machine, units) in &mut self.orphaned {
            let known = &self.units;
            let pinned =
                |name: &UnitName| known.get(name).is_some_and(|state| state.unit.requirements.pinned);
            lost.extend(units.extract_if(.., |name| !pinned(name)).map(|name| (name, machine.clone())));
        }
        self.orphaned.retain(|_, units| !units.is_empty());
        lost.sort();
        for (unit, machine) in lost {
            if let Some(state) = self.units.get_mut(&unit) {
                state.unit.target = None;
                state.leaving = true;
                self.waiting.insert(unit.clone());
                let reason = Reason::MachineFailed(machine.clone());
                tasks.push(Task::Unschedule { unit, machine, reason });
            }
        }
    }

    /// Unschedules units that are not eligible any more. Of two that conflict, the later by name. Followers go with
    /// their peers. An unreachable machine keeps its units: its metadata may be unknown, and the units may still run.
    fn check_machine(&mut self, slot: Slot, tasks: &mut Vec<Task>) {
        loop {
            let Some(machine) = self.machine(slot).filter(|machine| !machine.machine.unreachable) else {
                return;
            };
            let names: Vec<_> = machine.placed.iter().rev().cloned().collect();
            let mut changed = false;
            for name in names {
                let (Some(machine), Some(state)) = (self.machine(slot), self.units.get(&name)) else {
                    continue;
                };
                let Some(block) = self.first_block(state, machine, Stage::Placed) else { continue };
                let obstacle = Box::new(self.obstacle(state, machine, block));
                let reason = Reason::Unable(machine.machine.id.clone(), obstacle);
                self.unschedule(&name, reason, tasks);
                changed = true;
            }
            if !changed {
                return;
            }
        }
    }

    /// Moves units that are replaced, refused, or on a draining machine, if another machine is eligible.
    fn evict(&mut self, slot: Slot, reserved: &mut Vec<UnitName>, tasks: &mut Vec<Task>) {
        let Some(machine) = self.machine(slot) else { return };
        let draining = machine.machine.cordon == Cordon::Draining;
        if !draining && machine.replacing.is_empty() && !self.is_any_refused() {
            return;
        }
        let id = machine.machine.id.clone();
        let names: Vec<_> = machine.placed.iter().cloned().collect();
        for name in names {
            let (Some(machine), Some(state)) = (self.machine(slot), self.units.get(&name)) else { continue };
            // It moved with another unit, or its place is only reserved.
            if state.leaving || state.place != Some(slot) {
                continue;
            }
            let reason = match self.replacer(state, machine) {
                Some(by) => Reason::Replaced(by.clone()),
                None if draining => Reason::Draining(id.clone()),
                None if self.refusal(&name, &id).is_some() => Reason::Refused(id.clone()),
                None => continue,
            };
            // A draining machine must keep no follower; otherwise only the unit itself matters.
            let eviction = if draining {
                self.find_eviction(state, slot)
            } else {
                self.find_single_eviction(state, slot)
            };
            if let Some(eviction) = eviction {
                let reason_for = |unit: &UnitName| {
                    if *unit == name { reason.clone() } else { Reason::Draining(id.clone()) }
                };
                self.evict_group(&eviction, reason_for, reserved, tasks);
            }
        }
    }

    /// A unit that may overlap is moved directly if its peers in the group are, too.
    fn evict_group(
        &mut self,
        eviction: &Eviction,
        reason: impl Fn(&UnitName) -> Reason,
        reserved: &mut Vec<UnitName>,
        tasks: &mut Vec<Task>,
    ) {
        let mut moved = BTreeSet::new();
        for name in &eviction.units {
            let requirements = &self.units[name].unit.requirements;
            let is_peer = |other: &&UnitName| requirements.peers.iter().any(|peer| peer == other.as_str());
            let peers_moved = eviction.units.iter().filter(is_peer).all(|peer| moved.contains(peer));
            if requirements.overlap && peers_moved {
                self.relocate(name, eviction.to, reason(name), tasks);
                moved.insert(name.clone());
            } else {
                self.unschedule(name, reason(name), tasks);
                // Reserves resources for the following units.
                self.place(name, eviction.to);
                reserved.push(name.clone());
            }
        }
    }

    /// Checks dirty machines until nothing changes. Returns the checked machines.
    fn recheck_machines(&mut self, tasks: &mut Vec<Task>) -> BTreeSet<Slot> {
        let mut checked = BTreeSet::new();
        while !self.stale_globals.is_empty() || !self.dirty.is_empty() {
            for slot in std::mem::take(&mut self.stale_globals) {
                self.refresh_globals(slot);
            }
            let dirty = std::mem::take(&mut self.dirty);
            for slot in self.in_order(&dirty) {
                self.check_machine(slot, tasks);
            }
            checked.extend(dirty);
        }
        checked
    }

    /// By machine id, since slots depend on history.
    fn in_order(&self, slots: &BTreeSet<Slot>) -> Vec<Slot> {
        if slots.len() == self.slots.len() {
            return self.slots.values().copied().collect();
        }
        let mut by_id: Vec<_> =
            slots.iter().filter_map(|slot| Some((&self.machine(*slot)?.machine.id, *slot))).collect();
        by_id.sort_unstable();
        by_id.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Unschedules a unit from a present machine. It waits for confirmation.
    fn unschedule(&mut self, name: &UnitName, reason: Reason, tasks: &mut Vec<Task>) {
        self.unplace(name);
        let Some(state) = self.units.get_mut(name) else { return };
        let Some(machine) = state.unit.target.take() else { return };
        state.leaving = true;
        self.waiting.insert(name.clone());
        tasks.push(Task::Unschedule { unit: name.clone(), machine, reason });
    }

    fn relocate(&mut self, name: &UnitName, to: Slot, reason: Reason, tasks: &mut Vec<Task>) {
        let Some(id) = self.machine(to).map(|machine| machine.machine.id.clone()) else { return };
        self.unplace(name);
        let Some(state) = self.units.get_mut(name) else { return };
        let Some(from) = state.unit.target.replace(id.clone()) else { return };
        self.place(name, to);
        tasks.push(Task::Move { unit: name.clone(), from, to: id, reason });
    }

    fn place_waiting(&mut self, tasks: &mut Vec<Task>) {
        if std::mem::take(&mut self.retry) {
            self.ready.extend(self.waiting.iter().cloned());
        }
        let mut unschedulable = HashSet::new();
        // By name. Followers become ready when their peers are placed.
        while let Some(name) = self.ready.pop_first() {
            self.try_place(&name, &mut unschedulable, tasks);
        }
    }

    fn try_place(
        &mut self,
        name: &UnitName,
        unschedulable: &mut HashSet<PlacementClass>,
        tasks: &mut Vec<Task>,
    ) {
        let Some(state) = self.units.get(name).filter(|state| !state.leaving) else { return };
        if !self.waiting.contains(name) {
            return;
        }
        // Placing units frees no resources: units of the same class fail as well.
        let placement_class = self.placement_class(state);
        if placement_class.as_ref().is_some_and(|placement_class| unschedulable.contains(placement_class)) {
            return;
        }
        let Some(slot) = self.choose(state, None) else {
            unschedulable.extend(placement_class);
            return;
        };
        let Some(machine) = self.machine(slot).map(|machine| machine.machine.id.clone()) else { return };
        self.waiting.remove(name);
        let Some(state) = self.units.get_mut(name) else { return };
        state.unit.target = Some(machine.clone());
        let pin = state.unit.requirements.pinned && state.unit.pin.is_none();
        if pin {
            state.unit.pin = Some(machine.clone());
        }
        let reason = Reason::NotScheduled(state.unit.desired);
        self.place(name, slot);
        tasks.push(Task::Schedule { unit: name.clone(), machine, reason, pin });
    }

    /// `None` if eligibility depends on more than the class.
    fn placement_class(&self, state: &UnitState) -> Option<PlacementClass> {
        let requirements = &state.unit.requirements;
        let bound = requirements.machine_id.is_some()
            || requirements.pinned
            || !requirements.peers.is_empty()
            || self.holders(state).next().is_some()
            || self.is_refused_somewhere(&state.unit.name);
        (!bound).then(|| {
            (
                state.conflicts.clone(),
                state.matched.clone(),
                requirements.metadata.clone(),
                requirements.memory,
                requirements.cpu,
            )
        })
    }
}
