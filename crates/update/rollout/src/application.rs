//! One product: its packages, channels, groups and machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::{Contribution, Counts};
use crate::group::{Channel, Group, GroupState};
use crate::machine::Machine;
use crate::package::Package;
use crate::timeline::Timeline;
use crate::track::Track;

/// What operators state about an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// As the machines send it, with or without braces.
    pub id: String,
    /// For operators.
    pub name: String,
    /// Alternative to the id in API paths.
    #[serde(default)]
    pub product_id: Option<String>,
}

/// An application with all that belongs to it.
#[derive(Debug, Clone)]
pub struct Application {
    /// What operators state about it.
    pub app: App,
    /// By version and architecture.
    pub packages: BTreeMap<(Version, String), Package>,
    /// By the channel's track.
    pub channels: BTreeMap<Track, Channel>,
    /// By the group's track.
    pub groups: BTreeMap<Track, GroupState>,
    /// By the machine's id.
    pub machines: BTreeMap<Arc<str>, Machine>,
}

impl Application {
    pub(crate) fn new(app: App) -> Self {
        Self {
            app,
            packages: BTreeMap::new(),
            channels: BTreeMap::new(),
            groups: BTreeMap::new(),
            machines: BTreeMap::new(),
        }
    }

    /// `None` if there is no such package.
    pub fn package(&self, version: &Version, arch: &str) -> Option<&Package> {
        self.packages.get(&(version.clone(), arch.to_owned()))
    }

    /// Channels that have the version as a floor. While it is banned, machines below it get no updates there.
    pub fn floor_of(&self, version: &Version, arch: &str) -> impl Iterator<Item = &Track> {
        let has_floor =
            move |channel: &&Channel| channel.floors.contains(version) && channel.track.arch() == arch;
        self.channels.values().filter(has_floor).map(|channel| &channel.track)
    }

    /// Inserts or replaces a group and recounts its machines.
    pub(crate) fn put_group(&mut self, group: Group, timeline: Timeline) {
        let track = group.track.clone();
        let mut counts = Counts::default();
        for (id, machine) in &self.machines {
            if machine.track == track {
                counts.add(id, &Contribution::of(machine));
            }
        }
        self.groups.insert(track, GroupState { group, counts, timeline });
    }

    pub(crate) fn put_machine(&mut self, machine: Machine) {
        let id: Arc<str> = machine.id.as_str().into();
        let contribution = Contribution::of(&machine);
        self.remove_machine(&id);
        self.machines.insert(id.clone(), machine);
        if let Some(state) = self.groups.get_mut(&contribution.track) {
            state.counts.add(&id, &contribution);
        }
    }

    pub(crate) fn remove_machine(&mut self, id: &str) -> Option<Machine> {
        let (id, machine) = self.machines.remove_entry(id)?;
        if let Some(state) = self.groups.get_mut(&machine.track) {
            state.counts.remove(&id, &Contribution::of(&machine));
        }
        Some(machine)
    }

    /// Changes a machine and its group's counts. `None` if the machine does not exist.
    pub(crate) fn change<T>(&mut self, id: &Arc<str>, change: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        let machine = self.machines.get_mut(id)?;
        let before = Contribution::of(machine);
        let changed = change(machine);
        let after = Contribution::of(machine);
        if before != after {
            if let Some(state) = self.groups.get_mut(&before.track) {
                state.counts.remove(id, &before);
            }
            if let Some(state) = self.groups.get_mut(&after.track) {
                state.counts.add(id, &after);
            }
        }
        Some(changed)
    }
}
