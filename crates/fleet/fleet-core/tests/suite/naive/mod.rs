//! The scheduling rules a second time, as simply as possible: each question scans everything.

use std::collections::{BTreeMap, BTreeSet};

use fleet_core::schedule::{Scheduler, Task};
use fleet_core::{Cordon, Machine, MachineId, Refusal, Unit};
use unit_file::UnitName;

#[derive(Debug, Clone, Default)]
pub struct World {
    pub machines: BTreeMap<MachineId, Machine>,
    pub units: BTreeMap<UnitName, Unit>,
    pub held: BTreeSet<(UnitName, MachineId)>,
    /// Refusals with machine scope.
    pub refused: BTreeMap<(UnitName, MachineId), Refusal>,
}

/// A task without its reason: operation, unit, machine, second machine.
pub type Step = (char, UnitName, MachineId, Option<MachineId>);

pub fn step(task: &Task) -> Step {
    match task {
        Task::Unschedule { unit, machine, .. } => ('-', unit.clone(), machine.clone(), None),
        Task::Schedule { unit, machine, pin, .. } => {
            (if *pin { 'p' } else { '+' }, unit.clone(), machine.clone(), None)
        }
        Task::Move { unit, from, to, .. } => ('>', unit.clone(), from.clone(), Some(to.clone())),
    }
}

impl World {
    pub fn scheduler(&self) -> Scheduler {
        let mut scheduler = Scheduler::new();
        for (unit, machine) in &self.held {
            scheduler.set_held(unit, machine, true);
        }
        for ((unit, machine), refusal) in &self.refused {
            scheduler.set_refused(unit, machine, Some(refusal));
        }
        for unit in self.units.values() {
            scheduler.set_unit(unit.clone());
        }
        for machine in self.machines.values().rev() {
            scheduler.set_machine(machine.clone());
        }
        scheduler
    }

    pub fn carry_out(&mut self, steps: &[Step]) {
        for (kind, name, machine, to) in steps {
            let unit = self.units.get_mut(name).unwrap();
            match kind {
                '-' => assert_eq!(unit.target.take().as_ref(), Some(machine)),
                '>' => assert_eq!(std::mem::replace(&mut unit.target, to.clone()).as_ref(), Some(machine)),
                kind => {
                    assert_eq!(unit.target.replace(machine.clone()), None);
                    if *kind == 'p' {
                        assert_eq!(unit.pin.replace(machine.clone()), None);
                    }
                }
            }
        }
    }
}

pub struct Naive {
    world: World,
    /// Desired units that are not global, on present machines.
    pub place: BTreeMap<UnitName, MachineId>,
    /// Global units on present machines.
    pub globals: BTreeSet<(MachineId, UnitName)>,
    left: BTreeSet<UnitName>,
    steps: Vec<Step>,
}

impl Naive {
    pub fn new(world: &World) -> Self {
        let regular = world.units.values().filter(|unit| unit.is_desired() && !unit.requirements.global);
        let placed = regular.filter_map(|unit| Some((unit.name.clone(), unit.target.clone()?)));
        let mut naive = Self {
            place: placed.filter(|(_, machine)| world.machines.contains_key(machine)).collect(),
            world: world.clone(),
            globals: BTreeSet::new(),
            left: BTreeSet::new(),
            steps: Vec::new(),
        };
        naive.refresh();
        naive
    }

    pub fn pass(mut self) -> Vec<Step> {
        self.needless_and_lost();
        let ids: Vec<_> = self.world.machines.keys().cloned().collect();
        self.settle(&ids);
        // Repeatedly the first unit by name with an eligible machine.
        while let Some((name, to)) = self.world.units.values().find_map(|unit| self.first_place(unit)) {
            let unit = self.world.units.get_mut(&name).unwrap();
            let pin = unit.requirements.pinned && unit.pin.is_none();
            if pin {
                unit.pin = Some(to.clone());
            }
            unit.target = Some(to.clone());
            self.place.insert(name.clone(), to.clone());
            self.steps.push((if pin { 'p' } else { '+' }, name, to, None));
        }
        let reserved: Vec<_> = ids.iter().flat_map(|id| self.send_away(id)).collect();
        for name in reserved {
            self.place.remove(&name);
        }
        self.settle(&ids);
        self.steps
    }

    fn settle(&mut self, ids: &[MachineId]) {
        loop {
            let before = self.steps.len();
            self.refresh();
            for id in ids {
                self.check(id);
            }
            if self.steps.len() == before {
                return;
            }
        }
    }

    fn needless_and_lost(&mut self) {
        for lost in [false, true] {
            for unit in self.world.units.values_mut() {
                let needless = !unit.is_desired() || unit.requirements.global;
                let Some(target) = unit.target.clone() else { continue };
                let gone = !self.world.machines.contains_key(&target) && !unit.requirements.pinned;
                if if lost { gone && !needless } else { needless } {
                    unit.target = None;
                    self.left.insert(unit.name.clone());
                    self.steps.push(('-', unit.name.clone(), target, None));
                }
            }
        }
    }

    fn unit(&self, name: &UnitName) -> &Unit {
        &self.world.units[name]
    }

    fn on(&self, id: &MachineId) -> BTreeSet<UnitName> {
        let placed = self.place.iter().filter(|(_, place)| *place == id).map(|(name, _)| name.clone());
        let global = self.globals.iter().filter(|(place, _)| place == id).map(|(_, name)| name.clone());
        placed.chain(global).collect()
    }

    fn regular(&self, id: &MachineId) -> Vec<UnitName> {
        self.on(id).into_iter().filter(|name| !self.unit(name).requirements.global).collect()
    }

    fn refresh(&mut self) {
        self.globals.clear();
        for id in self.world.machines.keys().cloned().collect::<Vec<_>>() {
            let globals =
                self.world.units.values().filter(|unit| unit.is_desired() && unit.requirements.global);
            let mut names: Vec<_> = globals.map(|unit| unit.name.clone()).collect();
            names.sort_by_key(|name| (!self.world.held.contains(&(name.clone(), id.clone())), name.clone()));
            for name in names {
                if self.fits(self.unit(&name), &id) {
                    self.globals.insert((id.clone(), name));
                }
            }
        }
    }

    /// Whether a unit may stay on a machine.
    pub fn fits(&self, unit: &Unit, id: &MachineId) -> bool {
        let (machine, required, on) = (&self.world.machines[id], &unit.requirements, self.on(id));
        let short: String = id.as_str().chars().take(8).collect();
        required.machine_id.as_ref().is_none_or(|pattern| pattern == id.as_str() || *pattern == short)
            && required
                .metadata
                .iter()
                .all(|(key, values)| machine.metadata.get(key).is_some_and(|value| values.contains(value)))
            && required.peers.iter().all(|peer| on.iter().any(|name| name.as_str() == peer))
            && !(required.pinned && unit.pin.as_ref().is_some_and(|pin| pin != id))
            && !on.iter().any(|other| *other != unit.name && conflict(unit, self.unit(other)))
    }

    fn takes(&self, unit: &Unit, id: &MachineId) -> bool {
        self.would_take(unit, id, true)
    }

    /// Now, or after machines have stopped units.
    fn would_take(&self, unit: &Unit, id: &MachineId, now: bool) -> bool {
        let machine = &self.world.machines[id];
        let on = self.on(id);
        // Units that the machine is still stopping.
        let held = self.world.held.iter().filter(|(_, holder)| holder == id).map(|(name, _)| name);
        let lingering: Vec<_> = held.filter(|name| !on.contains(*name) && **name != unit.name).collect();
        let known = |name: &UnitName| self.world.units.get(name);
        let is_in_the_way = |name: &UnitName| match known(name) {
            Some(other) => conflict(unit, other),
            None => unit.requirements.conflicts.iter().any(|glob| glob.matches(name.as_str())),
        };
        let sum = |of: fn(&Unit) -> Option<u64>| {
            on.iter().chain(lingering.iter().copied()).filter_map(|name| of(known(name)?)).sum::<u64>()
        };
        let room = |limit: Option<u64>, of: fn(&Unit) -> Option<u64>| {
            limit.is_none_or(|limit| of(unit).unwrap_or(0) <= limit.saturating_sub(sum(of)))
        };
        let held = self.world.held.iter().filter(|(name, _)| unit.target.is_none() && *name == unit.name);
        self.fits(unit, id)
            && !self.is_refused(unit, id)
            && (!now || !lingering.iter().any(|name| is_in_the_way(name)))
            && !machine.unreachable
            && machine.cordon == Cordon::Open
            && machine.capacity.units.is_none_or(|limit| (on.len() as u64) < limit)
            && room(machine.capacity.memory, |unit| unit.requirements.memory)
            && room(machine.capacity.cpu, |unit| unit.requirements.cpu)
            && (!now
                || held
                    .map(|(_, holder)| holder)
                    .all(|holder| holder == id || !self.world.machines.contains_key(holder)))
    }

    fn is_refused(&self, unit: &Unit, id: &MachineId) -> bool {
        self.world.refused.contains_key(&(unit.name.clone(), id.clone()))
    }

    fn is_held(&self, unit: &Unit) -> bool {
        let mut holders =
            self.world.held.iter().filter(|(name, _)| unit.target.is_none() && *name == unit.name);
        holders.any(|(_, holder)| self.world.machines.contains_key(holder))
    }

    fn replacer(&self, unit: &Unit, id: &MachineId) -> bool {
        let replaces = |one: &Unit, other: &Unit| {
            one.requirements.replaces.iter().any(|glob| glob.matches(other.name.as_str()))
        };
        let others = self.on(id).into_iter().filter(|name| *name != unit.name);
        others.map(|name| self.unit(&name)).any(|other| replaces(other, unit) && !replaces(unit, other))
    }

    pub fn load(&self, id: &MachineId) -> u64 {
        self.on(id).iter().map(|name| self.unit(name).load()).sum()
    }

    pub fn choose(&self, unit: &Unit, not: Option<&MachineId>) -> Option<MachineId> {
        let all = self.world.machines.keys().filter(|id| Some(*id) != not && self.takes(unit, id));
        let bound = self.bound(unit);
        let left_behind = |id: &MachineId| {
            let mut with_it = self.copy();
            with_it.place.insert(unit.name.clone(), id.clone());
            bound.len() - with_it.join(&bound, id).len()
        };
        all.min_by_key(|id| (self.replacer(unit, id), left_behind(id), self.load(id), (*id).clone()))
            .filter(|id| !self.replacer(unit, id) || (not.is_none() && !self.is_held(unit)))
            .cloned()
    }

    fn copy(&self) -> Self {
        let (world, place, globals) = (self.world.clone(), self.place.clone(), self.globals.clone());
        Self { world, place, globals, left: self.left.clone(), steps: Vec::new() }
    }

    /// Units bound to a unit, directly or indirectly, that are where it is, or wait as it does.
    fn bound(&self, unit: &Unit) -> BTreeSet<UnitName> {
        let place = self.place.get(&unit.name);
        let is_beside = |other: &&Unit| match place {
            Some(_) => self.place.get(&other.name) == place && !self.left.contains(&other.name),
            None => {
                let regular = other.is_desired() && !other.requirements.global;
                regular && other.target.is_none() && !self.place.contains_key(&other.name)
            }
        };
        let binds = |one: &Unit, other: &Unit| {
            one.requirements.peers.iter().any(|peer| *peer == *other.name.as_str())
        };
        let mut found = BTreeSet::from([unit.name.clone()]);
        loop {
            let others: Vec<_> = self.world.units.values().filter(is_beside).collect();
            let is_bound = |other: &&&Unit| {
                found.iter().map(|name| self.unit(name)).any(|one| binds(one, other) || binds(other, one))
            };
            let new: Vec<_> = others.iter().filter(is_bound).map(|other| other.name.clone()).collect();
            let before = found.len();
            found.extend(new);
            if found.len() == before {
                found.remove(&unit.name);
                return found;
            }
        }
    }

    /// Places the units of a group that can run together, repeatedly by name. Returns their order.
    fn join(&mut self, group: &BTreeSet<UnitName>, id: &MachineId) -> Vec<UnitName> {
        let mut joined: Vec<UnitName> = Vec::new();
        // On their current machine they block no one.
        for name in group {
            self.place.remove(name);
        }
        loop {
            let before = joined.len();
            for name in group {
                if !joined.contains(name) && self.would_take(&self.unit(name).clone(), id, false) {
                    self.place.insert(name.clone(), id.clone());
                    joined.push(name.clone());
                }
            }
            if joined.len() == before {
                return joined;
            }
        }
    }

    /// Where a unit can move with all units bound to it, and in which order.
    fn exit(&self, unit: &Unit, from: &MachineId) -> Option<(MachineId, Vec<UnitName>)> {
        let mut group = self.bound(unit);
        if group.is_empty() {
            return Some((self.choose(unit, Some(from))?, vec![unit.name.clone()]));
        }
        group.insert(unit.name.clone());
        let mut ids: Vec<_> = self.world.machines.keys().filter(|id| *id != from).collect();
        ids.sort_by_key(|id| (self.load(id), (*id).clone()));
        ids.into_iter().find_map(|id| {
            let joined = self.copy().join(&group, id);
            let replaced = joined.iter().any(|name| self.replacer(self.unit(name), id));
            (joined.len() == group.len() && !replaced).then(|| (id.clone(), joined))
        })
    }

    fn check(&mut self, id: &MachineId) {
        if self.world.machines[id].unreachable {
            return;
        }
        loop {
            let before = self.steps.len();
            for name in self.regular(id).into_iter().rev() {
                if !self.fits(self.unit(&name), id) {
                    self.take_off(&name, id);
                }
            }
            if self.steps.len() == before {
                return;
            }
        }
    }

    fn take_off(&mut self, name: &UnitName, id: &MachineId) {
        self.place.remove(name);
        self.left.insert(name.clone());
        self.world.units.get_mut(name).unwrap().target = None;
        self.steps.push(('-', name.clone(), id.clone(), None));
    }

    fn send_away(&mut self, id: &MachineId) -> Vec<UnitName> {
        let mut reserved = Vec::new();
        let draining = self.world.machines[id].cordon == Cordon::Draining;
        for name in self.regular(id) {
            let unit = self.unit(&name).clone();
            if self.left.contains(&name) || self.place.get(&name) != Some(id) {
                continue;
            }
            let exit = if draining {
                self.exit(&unit, id)
            } else if self.replacer(&unit, id) || self.is_refused(&unit, id) {
                self.choose(&unit, Some(id)).map(|to| (to, vec![name]))
            } else {
                None
            };
            let Some((to, group)) = exit else { continue };
            let mut moved: Vec<UnitName> = Vec::new();
            for name in &group {
                let unit = self.unit(name).clone();
                let peers = group
                    .iter()
                    .filter(|peer| unit.requirements.peers.iter().any(|name| name == peer.as_str()));
                if unit.requirements.overlap && peers.clone().all(|peer| moved.contains(peer)) {
                    self.world.units.get_mut(name).unwrap().target = Some(to.clone());
                    self.steps.push(('>', name.clone(), id.clone(), Some(to.clone())));
                    moved.push(name.clone());
                } else {
                    self.take_off(name, id);
                    reserved.push(name.clone());
                }
                self.place.insert(name.clone(), to.clone());
            }
        }
        reserved
    }

    fn first_place(&self, unit: &Unit) -> Option<(UnitName, MachineId)> {
        let waits = unit.is_desired() && !unit.requirements.global && unit.target.is_none();
        let to = (waits && !self.left.contains(&unit.name)).then(|| self.choose(unit, None))??;
        Some((unit.name.clone(), to))
    }
}

pub fn conflict(one: &Unit, other: &Unit) -> bool {
    let names = |one: &Unit, other: &Unit| {
        one.requirements.conflicts.iter().any(|glob| glob.matches(other.name.as_str()))
    };
    names(one, other) || names(other, one)
}
