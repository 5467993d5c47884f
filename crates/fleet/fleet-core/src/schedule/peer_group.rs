//! Units that `MachineOf` binds together: each must run where its peers run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use unit_file::UnitName;

use crate::schedule::eligibility::{Block, Obstacle, Stage};
use crate::schedule::scheduler::{MachineState, Scheduler, Slot, UnitState};

/// Units that leave a machine together.
pub(super) struct Eviction {
    pub to: Slot,
    /// Peers before their followers.
    pub units: Vec<UnitName>,
}

impl Scheduler {
    /// Units bound to this one, directly or indirectly, that are on its machine, or wait as it does. By name, without
    /// itself.
    pub(super) fn peers_of<'a>(&'a self, state: &'a UnitState) -> Vec<&'a UnitState> {
        let mut found: BTreeMap<&UnitName, &UnitState> = BTreeMap::new();
        let mut pending = vec![state];
        while let Some(next) = pending.pop() {
            let named = next.unit.requirements.peers.iter().filter_map(|peer| self.units.get(peer.as_str()));
            let followers = self.followers.get(next.unit.name.as_str()).into_iter().flatten();
            for other in named.chain(followers.filter_map(|follower| self.units.get(follower))) {
                let name = &other.unit.name;
                if *name != state.unit.name && self.is_colocated(state, other) && !found.contains_key(name) {
                    found.insert(name, other);
                    pending.push(other);
                }
            }
        }
        found.into_values().collect()
    }

    fn is_colocated(&self, state: &UnitState, other: &UnitState) -> bool {
        match state.place {
            Some(slot) => other.place == Some(slot) && !other.leaving,
            None => other.place.is_none() && self.waiting.contains(&other.unit.name),
        }
    }

    /// How many of its peers could not run on this machine.
    pub(super) fn left_behind(
        &self,
        state: &UnitState,
        machine: &MachineState,
        peers: &[&UnitState],
    ) -> usize {
        if peers.is_empty() {
            return 0;
        }
        let mut with_unit = machine.clone();
        with_unit.place_unit(state);
        peers.len() - self.joining(with_unit, peers).len()
    }

    /// Where a unit can move without regard to its peers.
    pub(super) fn find_single_eviction(&self, state: &UnitState, from: Slot) -> Option<Eviction> {
        let to = self.choose(state, Some(from))?;
        Some(Eviction { to, units: vec![state.unit.name.clone()] })
    }

    /// Where a unit can move together with all its peers.
    pub(super) fn find_eviction(&self, state: &UnitState, from: Slot) -> Option<Eviction> {
        let group = self.group(state);
        if group.len() == 1 {
            return self.find_single_eviction(state, from);
        }
        self.by_load.iter().filter(|(_, _, to)| *to != from).find_map(|(_, _, to)| {
            let machine = self.machine(*to)?;
            let joining = self.joining(machine.clone(), &group);
            let is_not_replaced = |state: &&UnitState| self.replacer(state, machine).is_none();
            (joining.len() == group.len() && joining.iter().all(is_not_replaced)).then(|| Eviction {
                to: *to,
                units: joining.iter().map(|state| state.unit.name.clone()).collect(),
            })
        })
    }

    /// The first peer that prevents the unit from moving there, and its obstacle.
    pub(super) fn blocking_peer(&self, state: &UnitState, to: Slot) -> Option<Obstacle> {
        let machine = self.machine(to)?;
        let group = self.group(state);
        let joining = self.joining(machine.clone(), &group);
        let mut with_them = machine.clone();
        joining.iter().for_each(|state| with_them.place_unit(state));
        let is_joining = |name: &UnitName| joining.iter().any(|state| state.unit.name == *name);
        let missing = group.iter().filter(|other| !is_joining(&other.unit.name));
        // The unit's own obstacles are reported separately, and a missing peer is no cause.
        let causes = missing.filter(|other| other.unit.name != state.unit.name).filter_map(|other| {
            let block = self.lasting_block(other, &with_them)?;
            let is_cause = !matches!(block, Block::Peer(_));
            Some((is_cause, other, self.obstacle(other, &with_them, block)))
        });
        let (_, other, obstacle) = causes.max_by_key(|(is_cause, ..)| *is_cause)?;
        Some(Obstacle::Bound { unit: other.unit.name.clone(), obstacle: Box::new(obstacle) })
    }

    /// Including the unit itself, by name.
    fn group<'a>(&'a self, state: &'a UnitState) -> Vec<&'a UnitState> {
        let mut group = self.peers_of(state);
        let at = group.partition_point(|other| other.unit.name < state.unit.name);
        group.insert(at, state);
        group
    }

    /// The units of a group that could run on a machine together, peers before followers.
    fn joining<'a>(&self, mut machine: MachineState, group: &[&'a UnitState]) -> Vec<&'a UnitState> {
        // Placed units only add obstacles, except for their followers.
        let names: BTreeSet<_> = group.iter().map(|state| state.unit.name.as_str()).collect();
        let may_join = |state: &UnitState| {
            let block = |block: &Block<'_>| !matches!(block, Block::Peer(peer) if names.contains(peer));
            self.find_block(state, &machine, |found| found.lasts() && block(found)).is_none()
        };
        let mut pending: Vec<_> = group.iter().copied().filter(|state| may_join(state)).collect();
        let mut joining = Vec::new();
        loop {
            let before = joining.len();
            pending.retain(|state| {
                let joins = self.lasting_block(state, &machine).is_none();
                if joins {
                    machine.place_unit(state);
                    joining.push(*state);
                }
                !joins
            });
            if joining.len() == before {
                return joining;
            }
        }
    }

    /// The first obstacle that persists after units have stopped.
    fn lasting_block<'a>(&'a self, state: &'a UnitState, machine: &'a MachineState) -> Option<Block<'a>> {
        self.find_block(state, machine, Block::lasts)
    }

    fn find_block<'a>(
        &'a self,
        state: &'a UnitState,
        machine: &'a MachineState,
        is_meant: impl Fn(&Block<'a>) -> bool,
    ) -> Option<Block<'a>> {
        let mut found = None;
        let _stopped = self.blocks(state, machine, Stage::Incoming, |block| {
            if !is_meant(&block) {
                return ControlFlow::Continue(());
            }
            found = Some(block);
            ControlFlow::Break(())
        });
        found
    }
}
