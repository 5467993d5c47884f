//! Explains a unit's placement: the obstacles on each machine, and what would remove them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;

use unit_file::UnitName;

use crate::job_state::JobState;
use crate::machine::{Cordon, MachineId};
use crate::schedule::eligibility::{Obstacle, Stage};
use crate::schedule::scheduler::{Scheduler, UnitState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub unit: UnitName,
    pub desired: JobState,
    pub placement: Placement,
    /// Every present machine, in order of preference.
    pub candidates: Vec<Candidate>,
    /// A cycle of `MachineOf` that the unit waits for.
    pub cycle: Vec<UnitName>,
    /// Its machine is draining, and no other machine is eligible.
    pub cannot_drain: bool,
}

/// Where the unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The desired state is inactive.
    NotDesired,
    /// A global unit with its machines.
    Global(Vec<MachineId>),
    On(MachineId),
    /// Its machine is not present, and the unit waits for it.
    MachineLost(MachineId),
    /// It was just unscheduled.
    Leaving,
    /// The next pass schedules it to this machine.
    Next(MachineId),
    Nowhere,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub machine: MachineId,
    pub load: u64,
    /// Empty if the unit could run, or runs.
    pub obstacles: Vec<Obstacle>,
}

impl Scheduler {
    /// `None` for an unknown unit.
    pub fn explain(&self, name: &str) -> Option<Explanation> {
        let state = self.units.get(name)?;
        let placement = self.placement(state);
        let cannot_drain = self.cannot_drain(state);
        let candidates = self.by_load.iter().filter_map(|(load, machine, slot)| {
            let mut obstacles = self.obstacles(state, *slot)?;
            if cannot_drain && state.place != Some(*slot) {
                obstacles = self.group_obstacles(state, *slot, obstacles);
            }
            Some(Candidate { machine: machine.clone(), load: *load, obstacles })
        });
        Some(Explanation {
            unit: state.unit.name.clone(),
            desired: state.unit.desired,
            placement,
            candidates: candidates.collect(),
            cycle: self.cycle(state),
            cannot_drain,
        })
    }

    /// Whether the unit's machine is draining and no other machine is eligible.
    fn cannot_drain(&self, state: &UnitState) -> bool {
        let draining = |slot: &usize| {
            self.machine(*slot).is_some_and(|machine| machine.machine.cordon == Cordon::Draining)
        };
        state.place.filter(draining).is_some_and(|slot| self.find_eviction(state, slot).is_none())
    }

    /// [`Explanation::message`], without checking all machines for a placed unit, since lists need it for each unit.
    pub fn message(&self, name: &str) -> Option<String> {
        let state = self.units.get(name)?;
        match self.placement(state) {
            Placement::Nowhere | Placement::MachineLost(_) => self.explain(name)?.message(),
            Placement::On(_) if self.cannot_drain(state) => self.explain(name)?.message(),
            _ => None,
        }
    }

    fn placement(&self, state: &UnitState) -> Placement {
        if !state.unit.is_desired() {
            return Placement::NotDesired;
        }
        if state.unit.requirements.global {
            let placed_on =
                self.machines.iter().flatten().filter(|machine| machine.globals.contains(&state.unit.name));
            let ids: BTreeSet<_> = placed_on.map(|machine| machine.machine.id.clone()).collect();
            return Placement::Global(ids.into_iter().collect());
        }
        let place = state.place.and_then(|slot| self.machine(slot));
        match (place, &state.unit.target) {
            (Some(machine), _) => Placement::On(machine.machine.id.clone()),
            (None, Some(target)) => Placement::MachineLost(target.clone()),
            (None, None) if state.leaving => Placement::Leaving,
            (None, None) => match self.choose(state, None).and_then(|slot| self.machine(slot)) {
                Some(machine) => Placement::Next(machine.machine.id.clone()),
                None => Placement::Nowhere,
            },
        }
    }

    fn obstacles(&self, state: &UnitState, slot: usize) -> Option<Vec<Obstacle>> {
        let machine = self.machine(slot)?;
        let placed = state.place == Some(slot) || state.unit.requirements.global;
        let stage = if placed { Stage::Placed } else { Stage::Incoming };
        let mut found: Vec<Obstacle> = Vec::new();
        let _all_seen = self.blocks(state, machine, stage, |block| {
            let obstacle = self.obstacle(state, machine, block);
            // Mutual conflicts, or several patterns, count once.
            if !found.iter().any(|before| before.is_conflict_with(&obstacle)) {
                found.push(obstacle);
            }
            ControlFlow::Continue(())
        });
        Some(found)
    }

    /// Obstacles if the unit moves together with its peers: their absence is none, but an obstacle of a peer is.
    fn group_obstacles(&self, state: &UnitState, slot: usize, own: Vec<Obstacle>) -> Vec<Obstacle> {
        let comes_along = |peer: &str| self.units.get(peer).is_some_and(|peer| peer.place == state.place);
        let lasts =
            |obstacle: &Obstacle| !matches!(obstacle, Obstacle::Peer { peer, .. } if comes_along(peer));
        own.into_iter().filter(lasts).chain(self.blocking_peer(state, slot)).collect()
    }

    /// The first reachable cycle of `MachineOf`.
    fn cycle(&self, state: &UnitState) -> Vec<UnitName> {
        let mut came_from: BTreeMap<&UnitName, &UnitName> = BTreeMap::new();
        let mut pending = vec![&state.unit.name];
        while let Some(name) = pending.pop() {
            let Some(unit) = self.units.get(name) else { continue };
            for peer in &unit.unit.requirements.peers {
                let Some((peer, _)) = self.units.get_key_value(peer.as_str()) else { continue };
                if *peer == state.unit.name {
                    let mut path = vec![name];
                    while let Some(before) = path.last().and_then(|last| came_from.get(*last)) {
                        path.push(before);
                    }
                    return path.into_iter().rev().cloned().collect();
                }
                if !came_from.contains_key(peer) {
                    came_from.insert(peer, name);
                    pending.push(peer);
                }
            }
        }
        Vec::new()
    }
}

impl Explanation {
    /// The API's `schedulingMessage`, one line. `None` if there is nothing to report.
    pub fn message(&self) -> Option<String> {
        match &self.placement {
            Placement::Nowhere if !self.cycle.is_empty() => {
                let names: Vec<_> = self.cycle.iter().map(UnitName::as_str).collect();
                Some(format!("circular MachineOf: {}", names.join(", ")))
            }
            Placement::Nowhere if self.candidates.is_empty() => Some("no machine is present".into()),
            Placement::Nowhere => Some(format!("no machine is eligible: {}", self.summary(None))),
            Placement::On(_) if self.cannot_drain && self.candidates.len() == 1 => {
                Some("no other machine is present".into())
            }
            Placement::On(machine) if self.cannot_drain => {
                Some(format!("no other machine is eligible: {}", self.summary(Some(machine))))
            }
            Placement::MachineLost(_) => Some(self.placement.to_string()),
            _ => None,
        }
    }

    /// Counts of first obstacles, most frequent first, without those of one machine.
    fn summary(&self, without: Option<&MachineId>) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let candidates = self.candidates.iter().filter(|candidate| Some(&candidate.machine) != without);
        for obstacle in candidates.filter_map(|candidate| candidate.obstacles.first()) {
            *counts.entry(obstacle.to_string()).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|(one, of_one), (other, of_other)| (of_other, one).cmp(&(of_one, other)));
        let texts: Vec<_> = counts
            .into_iter()
            .map(|(text, count)| if count == 1 { text } else { format!("{text} (on {count} machines)") })
            .collect();
        texts.join("; ")
    }

    /// Whether it cannot be scheduled until a unit or a machine is changed: every machine has a permanent obstacle.
    pub fn is_blocked(&self) -> bool {
        let lasts = |candidate: &Candidate| candidate.obstacles.iter().any(Obstacle::lasts);
        self.placement == Placement::Nowhere
            && (!self.cycle.is_empty() || !self.candidates.is_empty() && self.candidates.iter().all(lasts))
    }

    /// For machines with a single obstacle, what removes it.
    pub fn remedies(&self) -> Vec<(MachineId, String)> {
        self.candidates
            .iter()
            .filter_map(|candidate| match &candidate.obstacles[..] {
                [only] => Some((candidate.machine.clone(), only.remedy())),
                _ => None,
            })
            .collect()
    }
}

impl Obstacle {
    fn is_conflict_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Conflict { unit, .. }, Self::Conflict { unit: other, .. }) => unit == other,
            _ => false,
        }
    }

    /// Whether it persists until someone intervenes. A missing peer may be about to be scheduled.
    pub fn lasts(&self) -> bool {
        match self {
            Self::Peer { at, .. } => at.is_some(),
            Self::Unreachable
            | Self::Draining
            | Self::Held { .. }
            | Self::Lingering { .. }
            | Self::Replaced { .. } => false,
            Self::Machine { .. }
            | Self::Metadata { .. }
            | Self::Conflict { .. }
            | Self::Pinned { .. }
            | Self::Cordoned
            | Self::Units { .. }
            | Self::Memory { .. }
            | Self::Cpu { .. }
            | Self::Refused { .. } => true,
            Self::Bound { obstacle, .. } => obstacle.lasts(),
        }
    }

    /// What would remove it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Machine { .. } => "change MachineID to this machine, or remove it".into(),
            Self::Metadata { key, required, .. } => {
                let first = required.iter().next().map_or("", String::as_str);
                format!("give the machine the metadata {key}={first}")
            }
            Self::Peer { peer, .. } => format!("get {peer} onto this machine"),
            Self::Conflict { unit, .. } => format!("unload {unit}, or move it elsewhere"),
            Self::Pinned { .. } => "destroy and submit the unit again, which removes its machine".into(),
            Self::Unreachable => "bring the machine back".into(),
            Self::Cordoned | Self::Draining => "uncordon the machine".into(),
            Self::Units { .. } => "raise the machine's limit of units, or move one elsewhere".into(),
            Self::Memory { .. } => "lower MemoryRequest, or move other units elsewhere".into(),
            Self::Cpu { .. } => "lower CPURequest, or move other units elsewhere".into(),
            Self::Held { by } => format!("wait until Machine({by}) has stopped it"),
            Self::Lingering { unit } => format!("wait until this machine has stopped {unit}"),
            Self::Replaced { by } => format!("unload {by}, or wait until this machine has stopped it"),
            Self::Bound { unit, obstacle } => format!("for {unit}: {}", obstacle.remedy()),
            Self::Refused { .. } => "mend what it names on the machine, or give the unit another name".into(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { required } => write!(f, "agent ID does not match required {required:?}"),
            Self::Metadata { key, required, found } => {
                let required: Vec<_> = required.iter().map(String::as_str).collect();
                write!(f, "local Machine metadata insufficient: {key} is not {}", required.join(" or "))?;
                match found {
                    Some(found) => write!(f, " but {found}"),
                    None => f.write_str(" but missing"),
                }
            }
            Self::Peer { peer, at } => {
                write!(f, "required peer Unit({peer}) is not scheduled locally")?;
                match at {
                    Some(at) => write!(f, " but to Machine({at})"),
                    None => f.write_str(" nor anywhere"),
                }
            }
            Self::Conflict { unit, pattern, own } => {
                let whose = if *own { "its own" } else { "that unit's" };
                write!(f, "found conflict with locally-scheduled Unit({unit}): {whose} Conflicts={pattern}")
            }
            Self::Pinned { to } => write!(f, "pinned to Machine({to})"),
            Self::Unreachable => f.write_str("the machine's presence has ended"),
            Self::Cordoned => f.write_str("the machine is cordoned"),
            Self::Draining => f.write_str("the machine is being drained"),
            Self::Units { limit } => write!(f, "the machine takes no more than {limit} units"),
            Self::Memory { required, free } => {
                write!(f, "the machine has {free} bytes of memory left of the {required} requested")
            }
            Self::Cpu { required, free } => {
                write!(
                    f,
                    "the machine has {free} thousandths of a processor left of the {required} requested"
                )
            }
            Self::Held { by } => write!(f, "Machine({by}) has not stopped it yet"),
            Self::Lingering { unit } => write!(f, "conflicting Unit({unit}) has not stopped there yet"),
            Self::Replaced { by } => write!(f, "Unit({by}) replaces it there"),
            Self::Refused { refusal } => write!(f, "{refusal}"),
            Self::Bound { unit, obstacle } => write!(f, "bound to Unit({unit}) by MachineOf: {obstacle}"),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDesired => f.write_str("inactive by its target state"),
            Self::Global(machines) => write!(f, "global, on {} machines", machines.len()),
            Self::On(machine) => write!(f, "on Machine({machine})"),
            Self::MachineLost(machine) => write!(f, "waits for Machine({machine}), which is not present"),
            Self::Leaving => f.write_str("being taken off its machine"),
            Self::Next(machine) => write!(f, "about to be scheduled to Machine({machine})"),
            Self::Nowhere => f.write_str("nowhere"),
        }
    }
}
