//! Facts, with indices that make passes cheap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Included, Unbounded};

use fleet_api::additions::{Refusal, RefusalScope};
use unit_file::UnitName;

use crate::machine::{Machine, MachineId};
use crate::schedule::patterns::{PatternId, Patterns};
use crate::unit::Unit;

/// Index of a present machine.
pub(super) type Slot = usize;

/// Number of units on a machine by pattern.
pub(super) type Counts = HashMap<PatternId, u32>;

/// A present machine with its counted units: desired units assigned to it, and its global units.
#[derive(Debug, Clone)]
pub(super) struct MachineState {
    pub machine: Machine,
    pub placed: BTreeSet<UnitName>,
    pub globals: BTreeSet<UnitName>,
    /// Held units that are not counted: the machine is stopping them.
    pub lingering: BTreeSet<UnitName>,
    pub load: u64,
    pub memory: u64,
    pub cpu: u64,
    /// Units with matching names.
    pub named: Counts,
    /// Units with the pattern in `Conflicts`.
    pub conflicting: Counts,
    /// Units with the pattern in `Replaces`.
    pub replacing: Counts,
}

#[derive(Debug, Clone)]
pub(super) struct UnitState {
    pub unit: Unit,
    /// Patterns in its `Conflicts` and `Replaces`, and patterns that match its name; sorted.
    pub conflicts: Vec<PatternId>,
    pub replaces: Vec<PatternId>,
    pub matched: Vec<PatternId>,
    /// Where it is counted, unless it is global.
    pub place: Option<Slot>,
    /// Machines that hold it, loaded or running.
    pub holders: BTreeSet<MachineId>,
    /// Unscheduled from a present machine, and not confirmed by a fact yet.
    pub leaving: bool,
}

/// See [`crate::schedule`].
#[derive(Debug, Clone, Default)]
pub struct Scheduler {
    pub(super) machines: Vec<Option<MachineState>>,
    free: Vec<Slot>,
    pub(super) slots: BTreeMap<MachineId, Slot>,
    /// In order of preference.
    pub(super) by_load: BTreeSet<(u64, MachineId, Slot)>,
    pub(super) units: BTreeMap<UnitName, UnitState>,
    pub(super) patterns: Patterns,
    /// Desired global units.
    pub(super) globals: BTreeSet<UnitName>,
    /// Units by `MachineOf` peer.
    pub(super) followers: HashMap<String, BTreeSet<UnitName>>,
    /// Also of units that are unknown or destroyed.
    held: BTreeMap<UnitName, BTreeSet<MachineId>>,
    /// The same by machine, also of machines that are not present.
    holds: BTreeMap<MachineId, BTreeSet<UnitName>>,
    /// Refusals with machine scope, also of unknown units.
    refused: BTreeMap<UnitName, BTreeMap<MachineId, Refusal>>,
    /// Desired units by target that is not present.
    pub(super) orphaned: BTreeMap<MachineId, BTreeSet<UnitName>>,
    /// Units that should not have their target.
    pub(super) stale_targets: BTreeSet<UnitName>,
    /// Desired units without a target.
    pub(super) waiting: BTreeSet<UnitName>,
    /// Waiting units that may be placed now.
    pub(super) ready: BTreeSet<UnitName>,
    /// All waiting units may be placed now.
    pub(super) retry: bool,
    /// Machines whose units must be checked.
    pub(super) dirty: BTreeSet<Slot>,
    /// Machines whose global units must be determined again.
    pub(super) stale_globals: BTreeSet<Slot>,
}

impl Scheduler {
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine is present with these properties.
    pub fn set_machine(&mut self, machine: Machine) {
        let id = machine.id.clone();
        let known = self.slots.get(&id).copied();
        if known.and_then(|slot| self.machine(slot)).is_some_and(|known| known.machine == machine) {
            return;
        }
        self.retry = true;
        if let Some(slot) = known {
            if let Some(state) = &mut self.machines[slot] {
                state.machine = machine;
            }
            self.dirty.insert(slot);
            self.stale_globals.insert(slot);
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.machines.push(None);
            self.machines.len() - 1
        });
        self.machines[slot] = Some(MachineState {
            machine,
            placed: BTreeSet::new(),
            globals: BTreeSet::new(),
            lingering: self.holds.get(&id).cloned().unwrap_or_default(),
            load: 0,
            memory: 0,
            cpu: 0,
            named: Counts::new(),
            conflicting: Counts::new(),
            replacing: Counts::new(),
        });
        self.slots.insert(id.clone(), slot);
        self.by_load.insert((0, id.clone(), slot));
        self.dirty.insert(slot);
        self.stale_globals.insert(slot);
        for name in self.orphaned.remove(&id).unwrap_or_default() {
            self.place(&name, slot);
        }
    }

    /// A machine has failed: its units may run elsewhere.
    pub fn remove_machine(&mut self, id: &MachineId) {
        let Some(slot) = self.slots.remove(id) else { return };
        let Some(state) = self.machines[slot].take() else { return };
        self.free.push(slot);
        self.by_load.remove(&(state.load, id.clone(), slot));
        self.dirty.remove(&slot);
        self.stale_globals.remove(&slot);
        self.retry = true;
        for name in &state.placed {
            if let Some(unit) = self.units.get_mut(name) {
                unit.place = None;
            }
        }
        if !state.placed.is_empty() {
            self.orphaned.insert(id.clone(), state.placed);
        }
    }

    /// A unit exists with these properties. Also confirms changes of its target.
    pub fn set_unit(&mut self, unit: Unit) {
        if let Some(known) = self.units.get_mut(&unit.name)
            && known.unit.is_desired() == unit.is_desired()
            && known.unit == (Unit { desired: known.unit.desired, ..unit.clone() })
        {
            // Loaded and launched are equivalent for the scheduler.
            known.unit.desired = unit.desired;
            if std::mem::take(&mut known.leaving) {
                self.ready.insert(unit.name);
            }
            return;
        }
        self.remove_unit(&unit.name.clone());
        self.add_unit(unit);
    }

    /// A unit was destroyed. Machines may still hold it.
    pub fn remove_unit(&mut self, name: &UnitName) {
        self.unplace(name);
        // A machine that is stopping it blocks other units.
        self.retry |= self.held.contains_key(name);
        let Some(state) = self.units.remove(name) else { return };
        if let Some(units) = state.unit.target.as_ref().and_then(|target| self.orphaned.get_mut(target)) {
            units.remove(name);
        }
        self.stale_targets.remove(name);
        self.waiting.remove(name);
        self.ready.remove(name);
        if self.globals.remove(name) {
            for slot in 0..self.machines.len() {
                if self.count_out_global(slot, name, &state) {
                    self.retry = true;
                }
            }
            self.stale_globals.extend(self.slots.values());
        }
        for peer in &state.unit.requirements.peers {
            if let Some(followers) = self.followers.get_mut(peer) {
                followers.remove(name);
                if followers.is_empty() {
                    self.followers.remove(peer);
                }
            }
        }
        for id in state.conflicts.iter().chain(&state.replaces) {
            self.release_pattern(*id);
        }
    }

    /// A machine holds a unit, or has stopped and unloaded it.
    pub fn set_held(&mut self, name: &UnitName, machine: &MachineId, held: bool) {
        let holders = self.held.entry(name.clone()).or_default();
        let changed = if held { holders.insert(machine.clone()) } else { holders.remove(machine) };
        let now = holders.clone();
        if now.is_empty() {
            self.held.remove(name);
        }
        if !changed {
            return;
        }
        if held {
            self.holds.entry(machine.clone()).or_default().insert(name.clone());
        } else if let Some(names) = self.holds.get_mut(machine) {
            names.remove(name);
            if names.is_empty() {
                self.holds.remove(machine);
            }
        }
        if let Some(state) = self.slots.get(machine).and_then(|slot| self.machines[*slot].as_mut()) {
            if held && !state.holds(name.as_str()) {
                state.lingering.insert(name.clone());
            } else if state.lingering.remove(name) {
                self.retry = true;
            }
        }
        if let Some(state) = self.units.get_mut(name) {
            state.holders = now;
        }
        if self.waiting.contains(name) {
            self.ready.insert(name.clone());
        }
        if self.globals.contains(name) {
            self.stale_globals.extend(self.slots.get(machine));
        }
    }

    /// A machine cannot load or start a unit, or the refusal is withdrawn. Only refusals with machine scope count:
    /// otherwise other machines would refuse the unit as well.
    pub fn set_refused(&mut self, name: &UnitName, machine: &MachineId, refusal: Option<&Refusal>) {
        let refusal = refusal.filter(|refusal| refusal.scope == RefusalScope::Machine);
        if self.refusal(name, machine) == refusal {
            return;
        }
        let refusals = self.refused.entry(name.clone()).or_default();
        match refusal {
            Some(refusal) => drop(refusals.insert(machine.clone(), refusal.clone())),
            None => drop(refusals.remove(machine)),
        }
        if refusals.is_empty() {
            self.refused.remove(name);
        }
        self.dirty.extend(self.slots.get(machine));
        // It may move to a machine that no longer refuses it.
        self.dirty.extend(self.units.get(name).and_then(|state| state.place));
        if self.waiting.contains(name) {
            self.ready.insert(name.clone());
        }
    }

    pub(super) fn is_holding(&self, machine: &MachineId, name: &UnitName) -> bool {
        self.holds.get(machine).is_some_and(|names| names.contains(name))
    }

    pub(super) fn refusal(&self, name: &UnitName, machine: &MachineId) -> Option<&Refusal> {
        self.refused.get(name)?.get(machine)
    }

    pub(super) fn is_any_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn is_refused_somewhere(&self, name: &UnitName) -> bool {
        self.refused.contains_key(name)
    }

    fn add_unit(&mut self, unit: Unit) {
        let name = unit.name.clone();
        let requirements = unit.requirements.clone();
        let conflicts = requirements.conflicts.iter().map(|glob| self.declare_pattern(glob)).collect();
        let replaces = requirements.replaces.iter().map(|glob| self.declare_pattern(glob)).collect();
        let mut state = UnitState {
            conflicts,
            replaces,
            matched: self.patterns.matching(name.as_str()),
            place: None,
            holders: self.held.get(&name).cloned().unwrap_or_default(),
            leaving: false,
            unit,
        };
        state.conflicts.sort_unstable();
        state.replaces.sort_unstable();
        for peer in &requirements.peers {
            self.followers.entry(peer.clone()).or_default().insert(name.clone());
        }
        let (is_desired, target) = (state.unit.is_desired(), state.unit.target.clone());
        self.units.insert(name.clone(), state);
        if is_desired && requirements.global {
            self.globals.insert(name.clone());
            self.stale_globals.extend(self.slots.values());
        }
        match target {
            Some(_) if !is_desired || requirements.global => {
                self.stale_targets.insert(name);
            }
            Some(target) => match self.slots.get(&target).copied() {
                Some(slot) => {
                    self.dirty.insert(slot);
                    self.stale_globals.insert(slot);
                    self.place(&name, slot);
                }
                None => {
                    self.orphaned.entry(target).or_default().insert(name);
                }
            },
            None if is_desired && !requirements.global => {
                self.waiting.insert(name.clone());
                self.ready.insert(name);
            }
            None => {}
        }
    }

    /// A new pattern may match existing units.
    fn declare_pattern(&mut self, glob: &unit_file::Glob) -> PatternId {
        let (id, new) = self.patterns.declare(glob);
        if new {
            self.for_each_match(glob, |state, machines| {
                if let Err(at) = state.matched.binary_search(&id) {
                    state.matched.insert(at, id);
                }
                for machine in machines {
                    *machine.named.entry(id).or_default() += 1;
                }
            });
        }
        id
    }

    fn release_pattern(&mut self, id: PatternId) {
        let Some(glob) = self.patterns.release(id) else { return };
        self.for_each_match(&glob, |state, machines| {
            state.matched.retain(|known| *known != id);
            for machine in machines {
                machine.named.remove(&id);
            }
        });
    }

    /// Calls `change` with each matching unit and the machines that count it.
    fn for_each_match(
        &mut self,
        glob: &unit_file::Glob,
        mut change: impl FnMut(&mut UnitState, Vec<&mut MachineState>),
    ) {
        let prefix = glob.literal_prefix();
        let from_prefix = self.units.range_mut::<str, _>((Included(prefix), Unbounded));
        for (name, state) in from_prefix.take_while(|(name, _)| name.as_str().starts_with(prefix)) {
            if !glob.matches(name.as_str()) {
                continue;
            }
            let machines = match state.place {
                Some(slot) => self.machines[slot].iter_mut().collect(),
                None if self.globals.contains(name) => self
                    .machines
                    .iter_mut()
                    .flatten()
                    .filter(|machine| machine.globals.contains(name))
                    .collect(),
                None => Vec::new(),
            };
            change(state, machines);
        }
    }

    /// The machine of a slot in use.
    pub(super) fn machine(&self, slot: Slot) -> Option<&MachineState> {
        self.machines.get(slot)?.as_ref()
    }
}
