//! Moves that balance the load of machines. Only on request.

use unit_file::UnitName;

use crate::limits::MAX_REBALANCE_MOVES;
use crate::machine::MachineId;
use crate::schedule::scheduler::{Scheduler, Slot};

/// A unit that an eligible machine with less load would take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocation {
    pub unit: UnitName,
    pub from: MachineId,
    pub to: MachineId,
    /// The new unit may start before the old one stops.
    pub overlap: bool,
}

impl Scheduler {
    /// Moves that each reduce the load of the more loaded of two machines. Pinned units and units bound by
    /// `MachineOf` stay.
    pub fn rebalance(&self) -> Vec<Relocation> {
        let mut copy = self.clone();
        let mut moves = Vec::new();
        while moves.len() < MAX_REBALANCE_MOVES {
            let Some((name, from, to)) = copy.next_relocation() else { break };
            let id_of = |slot| copy.machine(slot).map(|machine| machine.machine.id.clone());
            let (Some(from), Some(target)) = (id_of(from), id_of(to)) else { break };
            copy.unplace(&name);
            copy.place(&name, to);
            let Some(state) = copy.units.get_mut(&name) else { break };
            state.unit.target = Some(target.clone());
            let overlap = state.unit.requirements.overlap;
            moves.push(Relocation { unit: name, from, to: target, overlap });
        }
        moves
    }

    /// From the most loaded machine with a movable unit.
    fn next_relocation(&self) -> Option<(UnitName, Slot, Slot)> {
        let (least, ..) = self.by_load.first()?;
        for (load, _, from) in self.by_load.iter().rev() {
            // Even the least loaded machine would not be an improvement.
            if *load <= *least {
                return None;
            }
            let machine = self.machine(*from)?;
            for name in &machine.placed {
                let state = &self.units[name];
                let bound = state.unit.requirements.pinned
                    || !state.unit.requirements.peers.is_empty()
                    || self.followers.contains_key(name.as_str());
                if bound || least + state.unit.load() >= *load {
                    continue;
                }
                let to = self.choose(state, Some(*from)).and_then(|slot| Some((slot, self.machine(slot)?)));
                if let Some((to, _)) = to.filter(|(_, target)| target.load + state.unit.load() < *load) {
                    return Some((name.clone(), *from, to));
                }
            }
        }
        None
    }
}
