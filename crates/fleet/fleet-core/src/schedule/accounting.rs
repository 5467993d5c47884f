//! Counts units on machines and keeps sums, counts and load order current.

use unit_file::UnitName;

use crate::machine::MachineId;
use crate::schedule::patterns::PatternId;
use crate::schedule::scheduler::{Counts, MachineState, Scheduler, Slot, UnitState};

impl Scheduler {
    /// Counts a unit on a machine. The caller sets its target.
    pub(super) fn place(&mut self, name: &UnitName, slot: Slot) {
        let (Some(state), Some(machine)) = (self.units.get_mut(name), &mut self.machines[slot]) else {
            return;
        };
        state.place = Some(slot);
        let before = machine.load;
        machine.place_unit(state);
        let (id, after) = (machine.machine.id.clone(), machine.load);
        self.update_load_order(id, slot, before, after);
        // Replacement may affect other units of the machine.
        let state = &self.units[name];
        let replaces = !state.replaces.is_empty();
        let machine = self.machines[slot].as_ref();
        let replaced = machine.is_some_and(|machine| has_any(&machine.replacing, &state.matched));
        if replaces || replaced {
            self.dirty.insert(slot);
        }
        self.retry_followers(name);
    }

    /// Removes a unit from its machine's counts. The caller clears its target.
    pub(super) fn unplace(&mut self, name: &UnitName) {
        let Some(state) = self.units.get_mut(name) else { return };
        let Some(slot) = state.place.take() else { return };
        let Some(machine) = &mut self.machines[slot] else { return };
        machine.placed.remove(name);
        let before = machine.load;
        machine.count_out(state);
        let (id, after) = (machine.machine.id.clone(), machine.load);
        self.mark_lingering(slot, &id, name);
        self.update_load_order(id, slot, before, after);
        self.dirty.insert(slot);
        self.stale_globals.insert(slot);
        self.retry = true;
    }

    /// The machine may still have to stop the unit.
    fn mark_lingering(&mut self, slot: Slot, id: &MachineId, name: &UnitName) {
        if self.is_holding(id, name)
            && let Some(machine) = &mut self.machines[slot]
        {
            machine.lingering.insert(name.clone());
        }
    }

    /// Counts a global unit on a machine.
    pub(super) fn count_in_global(&mut self, slot: Slot, name: &UnitName) {
        let (Some(machine), Some(state)) = (&mut self.machines[slot], self.units.get(name)) else { return };
        let before = machine.load;
        machine.globals.insert(name.clone());
        machine.lingering.remove(name);
        machine.count_in(state);
        let (id, after) = (machine.machine.id.clone(), machine.load);
        self.update_load_order(id, slot, before, after);
        self.retry_followers(name);
    }

    /// Returns whether it was counted there.
    pub(super) fn count_out_global(&mut self, slot: Slot, name: &UnitName, state: &UnitState) -> bool {
        let Some(machine) = &mut self.machines[slot] else { return false };
        if !machine.globals.remove(name) {
            return false;
        }
        let before = machine.load;
        machine.count_out(state);
        let (id, after) = (machine.machine.id.clone(), machine.load);
        self.mark_lingering(slot, &id, name);
        self.update_load_order(id, slot, before, after);
        self.dirty.insert(slot);
        true
    }

    fn update_load_order(&mut self, id: MachineId, slot: Slot, before: u64, after: u64) {
        self.by_load.remove(&(before, id.clone(), slot));
        self.by_load.insert((after, id, slot));
    }

    /// Waiting followers may be placed now; placed ones may move.
    fn retry_followers(&mut self, name: &UnitName) {
        let Some(followers) = self.followers.get(name.as_str()) else { return };
        self.ready.extend(followers.iter().filter(|follower| self.waiting.contains(*follower)).cloned());
        self.dirty.extend(followers.iter().filter_map(|follower| self.units.get(follower)?.place));
    }
}

impl MachineState {
    /// Counts a unit that is not global.
    pub(super) fn place_unit(&mut self, state: &UnitState) {
        self.placed.insert(state.unit.name.clone());
        self.lingering.remove(&state.unit.name);
        self.count_in(state);
    }

    fn count_in(&mut self, state: &UnitState) {
        self.load += state.unit.load();
        self.memory += state.unit.requirements.memory.unwrap_or(0);
        self.cpu += state.unit.requirements.cpu.unwrap_or(0);
        add(&mut self.named, &state.matched);
        add(&mut self.conflicting, &state.conflicts);
        add(&mut self.replacing, &state.replaces);
    }

    fn count_out(&mut self, state: &UnitState) {
        self.load -= state.unit.load();
        self.memory -= state.unit.requirements.memory.unwrap_or(0);
        self.cpu -= state.unit.requirements.cpu.unwrap_or(0);
        subtract(&mut self.named, &state.matched);
        subtract(&mut self.conflicting, &state.conflicts);
        subtract(&mut self.replacing, &state.replaces);
    }

    /// All counted units.
    pub(super) fn present(&self) -> impl Iterator<Item = &UnitName> {
        self.placed.iter().chain(&self.globals)
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.placed.contains(name) || self.globals.contains(name)
    }
}

pub(super) fn has_any(counts: &Counts, ids: &[PatternId]) -> bool {
    ids.iter().any(|id| counts.contains_key(id))
}

fn add(counts: &mut Counts, ids: &[PatternId]) {
    for id in ids {
        *counts.entry(*id).or_default() += 1;
    }
}

fn subtract(counts: &mut Counts, ids: &[PatternId]) {
    for id in ids {
        if let Some(count) = counts.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(id);
            }
        }
    }
}
