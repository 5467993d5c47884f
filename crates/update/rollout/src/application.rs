//! One product: its packages, channels, groups and machines.

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Share};
use crate::group::{Channel, Group, GroupState};
use crate::machine::Machine;
use crate::package::Package;
use crate::timeline::Timeline;
use crate::track::Track;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// As its machines send it: with braces where it has them.
    pub id: String,
    pub name: String,
    /// A name for people, which the API takes in place of the id.
    #[serde(default)]
    pub product_id: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Application {
    pub app: App,
    pub packages: BTreeMap<(Version, String), Package>,
    pub channels: BTreeMap<Track, Channel>,
    pub groups: BTreeMap<Track, GroupState>,
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

    pub fn package(&self, version: &Version, arch: &str) -> Option<&Package> {
        self.packages.get(&(version.clone(), arch.to_owned()))
    }

    /// The channels that have the version as a floor. While it is banned, machines below it get nothing there.
    pub fn floor_of(&self, version: &Version, arch: &str) -> impl Iterator<Item = &Track> {
        let has = move |channel: &&Channel| channel.floors.contains(version) && channel.track.arch() == arch;
        self.channels.values().filter(has).map(|channel| &channel.track)
    }

    /// Counts the machines anew: when a group is new, or its machines' past counts in another way.
    pub(crate) fn put_group(&mut self, group: Group, timeline: Timeline) {
        let track = group.track.clone();
        let mut counts = Counts::default();
        for (id, machine) in &self.machines {
            if machine.track == track {
                counts.add(id, &Share::of(machine));
            }
        }
        self.groups.insert(track, GroupState { group, counts, timeline });
    }

    pub(crate) fn put_machine(&mut self, machine: Machine) {
        let id: Arc<str> = machine.id.as_str().into();
        let share = Share::of(&machine);
        self.remove_machine(&id);
        self.machines.insert(id.clone(), machine);
        if let Some(state) = self.groups.get_mut(&share.track) {
            state.counts.add(&id, &share);
        }
    }

    pub(crate) fn remove_machine(&mut self, id: &str) -> Option<Machine> {
        let (id, machine) = self.machines.remove_entry(id)?;
        if let Some(state) = self.groups.get_mut(&machine.track) {
            state.counts.remove(&id, &Share::of(&machine));
        }
        Some(machine)
    }

    /// Changes a machine and what is counted of it. Nothing happens where there is no such machine.
    pub(crate) fn change<T>(&mut self, id: &Arc<str>, change: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        let machine = self.machines.get_mut(id)?;
        let before = Share::of(machine);
        let changed = change(machine);
        let after = Share::of(machine);
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
