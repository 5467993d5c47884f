//! Global units: the machines that they run on. They are not scheduled; engine and agents compute the same result
//! from the same facts.

use unit_file::UnitName;

use crate::machine::MachineId;
use crate::schedule::eligibility::Stage;
use crate::schedule::scheduler::{Scheduler, Slot};

impl Scheduler {
    /// The global units of a present machine, by name.
    pub fn globals_of(&mut self, id: &MachineId) -> Vec<UnitName> {
        let Some(slot) = self.slots.get(id).copied() else { return Vec::new() };
        if self.stale_globals.remove(&slot) {
            self.refresh_globals(slot);
        }
        self.machine(slot).map(|machine| machine.globals.iter().cloned().collect()).unwrap_or_default()
    }

    /// Determines the global units of a machine: desired, eligible, and without conflicts with assigned units. Of two
    /// that conflict, the one that the machine holds is preferred, then by name.
    pub(super) fn refresh_globals(&mut self, slot: Slot) {
        let Some(machine) = self.machine(slot) else { return };
        let before = machine.globals.clone();
        if before.is_empty() && self.globals.is_empty() {
            return;
        }
        let id = machine.machine.id.clone();
        for name in &before {
            if let Some(state) = self.units.get(name).cloned() {
                self.count_out_global(slot, name, &state);
            }
        }
        let is_held =
            |name: &&UnitName| self.units.get(*name).is_some_and(|state| state.holders.contains(&id));
        let (held, new): (Vec<_>, Vec<_>) = self.globals.iter().partition(is_held);
        let in_order: Vec<_> = held.into_iter().chain(new).cloned().collect();
        for name in &in_order {
            let (Some(machine), Some(state)) = (self.machine(slot), self.units.get(name)) else { continue };
            if self.first_block(state, machine, Stage::Placed).is_none() {
                self.count_in_global(slot, name);
            }
        }
        let Some(machine) = self.machine(slot) else { return };
        // A removed unit frees resources.
        self.retry |= !before.is_subset(&machine.globals);
    }
}
