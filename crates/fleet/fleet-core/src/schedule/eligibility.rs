//! Whether a unit may run on a machine, and what prevents it.
//!
//! [`Scheduler::blocks`] finds all obstacles. A pass stops at the first; an explanation collects all.

use std::collections::BTreeSet;
use std::ops::Bound::{Included, Unbounded};
use std::ops::ControlFlow;

use fleet_api::additions::Refusal;
use unit_file::UnitName;

use crate::machine::{Cordon, MachineId};
use crate::schedule::accounting::has_any;
use crate::schedule::patterns::PatternId;
use crate::schedule::scheduler::{Counts, MachineState, Scheduler, Slot, UnitState};

/// An obstacle, cheap to create.
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
    /// Another machine has not stopped the unit yet.
    Held(&'a MachineId),
    /// The machine is still stopping a conflicting unit.
    Lingering(&'a UnitName),
    Replaced(&'a UnitName),
    Refused(&'a Refusal),
}

impl Block<'_> {
    /// Whether it persists after units have stopped.
    pub(super) fn lasts(&self) -> bool {
        !matches!(self, Self::Held(_) | Self::Lingering(_) | Self::Replaced(_))
    }
}

/// An obstacle with everything that its text needs. Texts are the original's where they exist.
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
        /// The pattern is this unit's, otherwise the other unit's.
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
    /// A conflicting unit is still being stopped.
    Lingering {
        unit: UnitName,
    },
    /// By a unit on the machine, while another machine is eligible.
    Replaced {
        by: UnitName,
    },
    /// The machine could not load or start it.
    Refused {
        refusal: Refusal,
    },
    /// A unit bound by `MachineOf` that would move along cannot run there.
    Bound {
        unit: UnitName,
        obstacle: Box<Obstacle>,
    },
}

/// Whether the unit is to be placed or is placed already: limits and cordons do not evict units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Incoming,
    Placed,
}

impl Scheduler {
    /// Calls `visit` for each obstacle until it breaks.
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
        // A counted unit matches its own patterns, which is no conflict.
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
        // A unit that is being replaced must not return while it is stopping.
        let leaving = self.holders(state).next().is_some();
        if let Some(by) = self.replacer(state, machine).filter(|_| leaving) {
            visit(Block::Replaced(by))?;
        }
        if let Some(refusal) = self.refusal(&state.unit.name, &facts.id) {
            visit(Block::Refused(refusal))?;
        }
        ControlFlow::Continue(())
    }

    /// Whether one of the two names the other in `Conflicts`. Only the name of a destroyed unit is known.
    fn conflicts_with(&self, state: &UnitState, other: &UnitName) -> bool {
        let globs = state.conflicts.iter().filter_map(|id| self.patterns.glob(*id));
        globs.into_iter().any(|glob| glob.matches(other.as_str()))
            || self
                .units
                .get(other)
                .is_some_and(|other| other.conflicts.iter().any(|id| state.matched.binary_search(id).is_ok()))
    }

    /// Present machines that hold a unit without a target.
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

    /// A unit on `machine` that replaces `state` and is not replaced by it in turn.
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

    /// The machine for a unit. Preference among eligible machines: the unit is not replaced there, most of its peers
    /// fit, least load, smallest id.
    pub(super) fn choose(&self, state: &UnitState, except: Option<Slot>) -> Option<Slot> {
        let group = self.peers_of(state);
        let mut best = None;
        for slot in self.candidates(state) {
            let Some(machine) = self.machine(slot).filter(|_| Some(slot) != except) else { continue };
            if self.first_block(state, machine, Stage::Incoming).is_some() {
                continue;
            }
            let replaced = self.replacer(state, machine).is_some();
            // A replaced unit must not move to where it is replaced again.
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

    /// Machines to consider, in order of preference.
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
            // All matching ids have this prefix, which few share.
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

    /// Describes a block.
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

    /// The first unit on the machine that the pattern concerns.
    fn conflict(&self, state: &UnitState, machine: &MachineState, id: PatternId, own: bool) -> Obstacle {
        let name = &state.unit.name;
        let about = |other: &&UnitName| {
            let other = &self.units[*other];
            let patterns = if own { &other.matched } else { &other.conflicts };
            other.unit.name != *name && patterns.binary_search(&id).is_ok()
        };
        let pattern = self.patterns.glob(id).map(ToString::to_string).unwrap_or_default();
        // There is one, or the pattern would not be a block.
        let unit = machine.present().find(about).unwrap_or(name).clone();
        Obstacle::Conflict { unit, pattern, own }
    }
}

fn count(counts: &Counts, pattern: PatternId) -> u32 {
    counts.get(&pattern).copied().unwrap_or(0)
}
