//! Whether a unit can be on a machine, and what is in the way.
//!
//! One function finds what is in the way, [`Scheduler::blocks`]: the pass stops at the first, and explaining
//! gathers all.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};
use std::ops::ControlFlow;

use fleet_api::additions::Refusal;
use unit_file::UnitName;

use crate::machine::{Cordon, MachineId};
use crate::schedule::accounting::has_any;
use crate::schedule::patterns::PatternId;
use crate::schedule::scheduler::{Counts, MachineState, Scheduler, Slot, UnitState};

/// What is in the way, cheap to make.
#[derive(Debug, Clone, Copy)]
pub(super) enum Block<'a> {
    Machine(&'a str),
    Metadata(&'a str, &'a BTreeSet<String>),
    Peer(&'a str),
    OwnConflict(PatternId),
    TheirConflict(PatternId),
    Pinned(&'a MachineId),
    Unreachable,
    Cordon(Cordon),
    Units(u64),
    Memory(u64),
    Cpu(u64),
    /// Another machine has not stopped it yet.
    Held(&'a MachineId),
    /// The machine is still stopping this one, which it conflicts with.
    Lingering(&'a UnitName),
    Replaced(&'a UnitName),
    Refused(&'a Refusal),
}

impl Block<'_> {
    /// Whether it is in the way for longer than it takes to stop units.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self, Self::Held(_) | Self::Lingering(_) | Self::Replaced(_))
    }
}

/// What is in the way, with all that a reader needs. Texts that the original has are its.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    Machine {
        required: String,
    },
    Metadata {
        key: String,
        required: BTreeSet<String>,
        found: Option<String>,
    },
    Peer {
        peer: String,
        at: Option<MachineId>,
    },
    Conflict {
        unit: UnitName,
        pattern: String,
        /// The pattern is this unit's, or else the other's.
        own: bool,
    },
    Pinned {
        to: MachineId,
    },
    Unreachable,
    Cordoned,
    Draining,
    Units {
        limit: u64,
    },
    /// Bytes.
    Memory {
        required: u64,
        free: u64,
    },
    /// Thousandths of a processor.
    Cpu {
        required: u64,
        free: u64,
    },
    Held {
        by: MachineId,
    },
    /// A unit that it conflicts with is still being stopped there.
    Lingering {
        unit: UnitName,
    },
    /// By a unit that is there, while another machine may take it.
    Replaced {
        by: UnitName,
    },
    /// The machine could not load or start it.
    Refused {
        refusal: Refusal,
    },
    /// A unit that `MachineOf` binds to it, and that is to leave its machine with it, cannot be there.
    Bound {
        unit: UnitName,
        obstacle: Box<Obstacle>,
    },
}

/// Whether a unit is to come, or is there: who is there is not sent away by limits and cordons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Incoming,
    Placed,
}

impl Scheduler {
    /// Calls `visit` with each thing that keeps `state` from being on `machine`, until it has seen enough.
    pub(super) fn blocks<'a>(
        &'a self,
        state: &'a UnitState,
        machine: &'a MachineState,
        stage: Stage,
        mut visit: impl FnMut(Block<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let requirements = &state.unit.requirements;
        let id = &machine.machine.id;
        if let Some(machine_id) = &requirements.machine_id
            && !id.matches_id(machine_id)
        {
            visit(Block::Machine(machine_id))?;
        }
        for (key, values) in &requirements.metadata {
            if !machine.machine.metadata.get(key).is_some_and(|value| values.contains(value)) {
                visit(Block::Metadata(key, values))?;
            }
        }
        for peer in &requirements.peers {
            if !machine.holds(peer) {
                visit(Block::Peer(peer))?;
            }
        }
        if let Some(pin) = state.unit.pin.as_ref().filter(|pin| requirements.pinned && *pin != id) {
            visit(Block::Pinned(pin))?;
        }
        // Where it is counted it counts itself, and it is no conflict of itself.
        let own = |pattern: &PatternId, among: &[PatternId]| {
            u32::from(among.binary_search(pattern).is_ok() && machine.holds(state.unit.name.as_str()))
        };
        for pattern in &state.conflicts {
            let named = count(&machine.named, *pattern);
            if named > 0 && named > own(pattern, &state.matched) {
                visit(Block::OwnConflict(*pattern))?;
            }
        }
        for pattern in &state.matched {
            let conflicting = count(&machine.conflicting, *pattern);
            if conflicting > 0 && conflicting > own(pattern, &state.conflicts) {
                visit(Block::TheirConflict(*pattern))?;
            }
        }
        if stage == Stage::Incoming {
            self.limits(state, machine, visit)?;
        }
        ControlFlow::Continue(())
    }

    fn limits<'a>(
        &'a self,
        state: &'a UnitState,
        machine: &'a MachineState,
        mut visit: impl FnMut(Block<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let facts = &machine.machine;
        if facts.unreachable {
            visit(Block::Unreachable)?;
        }
        if facts.cordon != Cordon::Open {
            visit(Block::Cordon(facts.cordon))?;
        }
        let units = machine.placed.len() + machine.globals.len();
        if let Some(limit) = facts.capacity.units.filter(|limit| units as u64 >= *limit) {
            visit(Block::Units(limit))?;
        }
        let lingering = machine.lingering.iter().filter(|name| **name != state.unit.name);
        for name in lingering.clone().filter(|name| self.conflicts_with(state, name)) {
            visit(Block::Lingering(name))?;
        }
        let lingering =
            || lingering.clone().filter_map(|name| Some(&self.units.get(name)?.unit.requirements));
        let free = |limit: Option<u64>, used: u64| limit.map(|limit| limit.saturating_sub(used));
        let used = machine.memory + lingering().filter_map(|requirements| requirements.memory).sum::<u64>();
        let memory = free(facts.capacity.memory, used);
        if let Some(free) = memory.filter(|free| state.unit.requirements.memory.unwrap_or(0) > *free) {
            visit(Block::Memory(free))?;
        }
        let used = machine.cpu + lingering().filter_map(|requirements| requirements.cpu).sum::<u64>();
        let cpu = free(facts.capacity.cpu, used);
        if let Some(free) = cpu.filter(|free| state.unit.requirements.cpu.unwrap_or(0) > *free) {
            visit(Block::Cpu(free))?;
        }
        for holder in self.holders(state).filter(|holder| **holder != facts.id) {
            visit(Block::Held(holder))?;
        }
        // Who leaves a machine because it is replaced there does not come back while it leaves.
        let leaving = self.holders(state).next().is_some();
        if let Some(by) = self.replacer(state, machine).filter(|_| leaving) {
            visit(Block::Replaced(by))?;
        }
        if let Some(refusal) = self.refusal(&state.unit.name, &facts.id) {
            visit(Block::Refused(refusal))?;
        }
        ControlFlow::Continue(())
    }

    /// Whether one of the two names the other in `Conflicts`. Of a unit that was destroyed only the name is known.
    fn conflicts_with(&self, state: &UnitState, other: &UnitName) -> bool {
        let globs = state.conflicts.iter().filter_map(|id| self.patterns.glob(*id));
        globs.into_iter().any(|glob| glob.matches(other.as_str()))
            || self
                .units
                .get(other)
                .is_some_and(|other| other.conflicts.iter().any(|id| state.matched.binary_search(id).is_ok()))
    }

    /// The present machines that hold a unit which is not assigned to any.
    pub(super) fn holders<'a>(&'a self, state: &'a UnitState) -> impl Iterator<Item = &'a MachineId> {
        let free = state.unit.target.is_none() && !state.unit.requirements.global;
        state.holders.iter().filter(move |holder| free && self.slots.contains_key(*holder))
    }

    pub(super) fn first_block<'a>(
        &'a self,
        state: &'a UnitState,
        machine: &'a MachineState,
        stage: Stage,
    ) -> Option<Block<'a>> {
        let mut found = None;
        let _stopped = self.blocks(state, machine, stage, |block| {
            found = Some(block);
            ControlFlow::Break(())
        });
        found
    }

    /// A unit on `machine` that replaces `state`, and is not replaced by it in turn.
    pub(super) fn replacer<'a>(&self, state: &UnitState, machine: &'a MachineState) -> Option<&'a UnitName> {
        if !has_any(&machine.replacing, &state.matched) {
            return None;
        }
        machine.placed.iter().find(|name| {
            let other = &self.units[*name];
            **name != state.unit.name
                && other.replaces.iter().any(|pattern| state.matched.binary_search(pattern).is_ok())
                && !state.replaces.iter().any(|pattern| other.matched.binary_search(pattern).is_ok())
        })
    }

    /// The machine for a unit: of the eligible ones where it is not replaced, where the most units that are bound to it
    /// can be beside it, that with the least load, then the smallest id.
    pub(super) fn choose(&self, state: &UnitState, except: Option<Slot>) -> Option<Slot> {
        let group = self.peers_of(state);
        let mut best = None;
        for slot in self.candidates(state) {
            let Some(machine) = self.machine(slot).filter(|_| Some(slot) != except) else { continue };
            if self.first_block(state, machine, Stage::Incoming).is_some() {
                continue;
            }
            let replaced = self.replacer(state, machine).is_some();
            // Who is sent away because of that goes nowhere for the same reason.
            if replaced && except.is_some() {
                continue;
            }
            let rank = (replaced, self.left_behind(state, machine, &group));
            if rank == (false, 0) {
                return Some(slot);
            }
            if best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// The machines that can come into question, in the order of choice.
    fn candidates<'a>(&'a self, state: &'a UnitState) -> Box<dyn Iterator<Item = Slot> + 'a> {
        let requirements = &state.unit.requirements;
        let only = |id: Option<&MachineId>| -> Box<dyn Iterator<Item = Slot>> {
            Box::new(id.and_then(|id| self.slots.get(id)).copied().into_iter())
        };
        if let Some(pin) = state.unit.pin.as_ref().filter(|_| requirements.pinned) {
            return only(Some(pin));
        }
        if let Some(holder) = self.holders(state).next() {
            return only(Some(holder));
        }
        let fixed = requirements.peers.iter().find(|peer| !self.globals.contains(peer.as_str()));
        if let Some(peer) = fixed {
            let place = self.units.get(peer.as_str()).and_then(|peer| peer.place);
            return Box::new(place.into_iter());
        }
        if let Some(id) = &requirements.machine_id {
            // All ids that it can mean begin with it. Few have the same beginning.
            let matching = self
                .slots
                .range::<str, _>((Included(id.as_str()), Unbounded))
                .take_while(|(known, _)| known.as_str().starts_with(id.as_str()));
            let mut slots: Vec<_> = matching
                .map(|(known, slot)| (self.machine(*slot).map(|machine| machine.load), known, *slot))
                .collect();
            slots.sort();
            return Box::new(slots.into_iter().map(|(_, _, slot)| slot));
        }
        Box::new(self.by_load.iter().map(|(_, _, slot)| *slot))
    }

    /// What a reader is told of a block.
    pub(super) fn obstacle(&self, state: &UnitState, machine: &MachineState, block: Block<'_>) -> Obstacle {
        match block {
            Block::Machine(required) => Obstacle::Machine { required: required.to_owned() },
            Block::Metadata(key, required) => Obstacle::Metadata {
                key: key.to_owned(),
                required: required.clone(),
                found: machine.machine.metadata.get(key).cloned(),
            },
            Block::Peer(peer) => {
                let place = self.units.get(peer).and_then(|peer| self.machine(peer.place?));
                Obstacle::Peer { peer: peer.to_owned(), at: place.map(|place| place.machine.id.clone()) }
            }
            Block::OwnConflict(pattern) => self.conflict(state, machine, pattern, true),
            Block::TheirConflict(pattern) => self.conflict(state, machine, pattern, false),
            Block::Pinned(to) => Obstacle::Pinned { to: to.clone() },
            Block::Unreachable => Obstacle::Unreachable,
            Block::Cordon(Cordon::Draining) => Obstacle::Draining,
            Block::Cordon(_) => Obstacle::Cordoned,
            Block::Units(limit) => Obstacle::Units { limit },
            Block::Memory(free) => {
                Obstacle::Memory { required: state.unit.requirements.memory.unwrap_or(0), free }
            }
            Block::Cpu(free) => Obstacle::Cpu { required: state.unit.requirements.cpu.unwrap_or(0), free },
            Block::Held(by) => Obstacle::Held { by: by.clone() },
            Block::Lingering(unit) => Obstacle::Lingering { unit: unit.clone() },
            Block::Replaced(by) => Obstacle::Replaced { by: by.clone() },
            Block::Refused(refusal) => Obstacle::Refused { refusal: refusal.clone() },
        }
    }

    /// The first unit on the machine that the pattern is about.
    fn conflict(&self, state: &UnitState, machine: &MachineState, id: PatternId, own: bool) -> Obstacle {
        let name = &state.unit.name;
        let about = |other: &&UnitName| {
            let other = &self.units[*other];
            let patterns = if own { &other.matched } else { &other.conflicts };
            other.unit.name != *name && patterns.binary_search(&id).is_ok()
        };
        let pattern = self.patterns.glob(id).map(ToString::to_string).unwrap_or_default();
        // Were there none, the pattern would not have been in the way.
        let unit = machine.present().find(about).unwrap_or(name).clone();
        Obstacle::Conflict { unit, pattern, own }
    }
}

fn count(counts: &Counts, pattern: PatternId) -> u32 {
    counts.get(&pattern).copied().unwrap_or(0)
}
