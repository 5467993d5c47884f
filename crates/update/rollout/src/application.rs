//! One product: its packages, channels, groups and machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::counts::{Contribution, Counts, source_of};
use crate::group::{Channel, Group, GroupState};
use crate::limits::{MACHINES, MACHINES_PER_SOURCE};
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
    /// Registered machines.
    registered: usize,
    /// By the network that the last request of an unregistered machine came from.
    sources: BTreeMap<IpAddr, Source>,
    /// Last contact of each provisional machine, in minutes.
    provisional: BTreeSet<(u64, Arc<str>)>,
}

/// Unregistered machines of one network.
#[derive(Debug, Clone, Default)]
struct Source {
    machines: usize,
    provisional: BTreeSet<(u64, Arc<str>)>,
}

/// There is no room for another machine, in total or from its source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Application {
    pub(crate) fn new(app: App) -> Self {
        Self {
            app,
            packages: BTreeMap::new(),
            channels: BTreeMap::new(),
            groups: BTreeMap::new(),
            machines: BTreeMap::new(),
            registered: 0,
            sources: BTreeMap::new(),
            provisional: BTreeSet::new(),
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
        let contribution = Contribution::of(&machine).into_owned();
        self.remove_machine(&id);
        self.machines.insert(id.clone(), machine);
        self.add(&id, &contribution);
        if let Some(state) = self.groups.get_mut(&*contribution.track) {
            state.counts.add(&id, &contribution);
        }
    }

    pub(crate) fn remove_machine(&mut self, id: &str) -> Option<Machine> {
        let (id, machine) = self.machines.remove_entry(id)?;
        let contribution = Contribution::of(&machine);
        self.remove(&id, &contribution);
        if let Some(state) = self.groups.get_mut(&machine.track) {
            state.counts.remove(&id, &contribution);
        }
        Some(machine)
    }

    /// Makes room for a new machine at the address `ip`. `Err`: there is none. `Ok(Some(_))`: the provisional machine that
    /// was removed. The room of registered machines is their own.
    pub(crate) fn make_room(&mut self, ip: IpAddr, is_registered: bool) -> Result<Option<Arc<str>>, Full> {
        if is_registered {
            return if self.registered < MACHINES { Ok(None) } else { Err(Full) };
        }
        self.make_room_within(MACHINES, MACHINES_PER_SOURCE, ip)
    }

    fn make_room_within(
        &mut self,
        total: usize,
        of_source: usize,
        ip: IpAddr,
    ) -> Result<Option<Arc<str>>, Full> {
        let provisional = match self.full_source(source_of(ip), of_source) {
            Some(source) => &source.provisional,
            None if self.machines.len() - self.registered < total => return Ok(None),
            None => &self.provisional,
        };
        let (_, oldest) = provisional.first().cloned().ok_or(Full)?;
        self.remove_machine(&oldest);
        Ok(Some(oldest))
    }

    fn full_source(&self, source: IpAddr, most: usize) -> Option<&Source> {
        self.sources.get(&source).filter(|found| found.machines >= most && !source.is_loopback())
    }

    /// Whether the machine, if it exists and is not registered, may report from the address `ip`.
    pub(crate) fn may_move(&self, id: &str, ip: IpAddr) -> bool {
        let from = self.machines.get(id).map(|machine| source_of(machine.ip));
        from.is_none_or(|from| {
            from == source_of(ip) || self.full_source(source_of(ip), MACHINES_PER_SOURCE).is_none()
        })
    }

    fn add(&mut self, id: &Arc<str>, contribution: &Contribution<'_>) {
        if contribution.registered {
            self.registered += 1;
            return;
        }
        let source = self.sources.entry(contribution.source).or_default();
        source.machines += 1;
        let provisional = contribution.provisional.map(|at| (at, id.clone()));
        source.provisional.extend(provisional.clone());
        self.provisional.extend(provisional);
    }

    fn remove(&mut self, id: &Arc<str>, contribution: &Contribution<'_>) {
        if contribution.registered {
            self.registered = self.registered.saturating_sub(1);
            return;
        }
        let provisional = contribution.provisional.map(|at| (at, id.clone()));
        if let Some(provisional) = &provisional {
            self.provisional.remove(provisional);
        }
        let Some(source) = self.sources.get_mut(&contribution.source) else { return };
        source.machines = source.machines.saturating_sub(1);
        if let Some(provisional) = &provisional {
            source.provisional.remove(provisional);
        }
        if source.machines == 0 {
            self.sources.remove(&contribution.source);
        }
    }

    /// Changes a machine and its group's counts. `None` if the machine does not exist.
    pub(crate) fn change<T>(&mut self, id: &Arc<str>, change: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        let machine = self.machines.get_mut(id)?;
        let before = Contribution::of(machine).into_owned();
        let changed = change(machine);
        let after = Contribution::of(machine);
        if before != after {
            let after = after.into_owned();
            self.remove(id, &before);
            self.add(id, &after);
            if let Some(state) = self.groups.get_mut(&*before.track) {
                state.counts.remove(id, &before);
            }
            if let Some(state) = self.groups.get_mut(&*after.track) {
                state.counts.add(id, &after);
            }
        }
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application() -> Application {
        Application::new(App { id: "id".to_owned(), name: String::new(), product_id: None })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine(id: &str, from: &str, [first_seen, last_seen]: [u64; 2]) -> Machine {
        let track = "alpha".parse().unwrap();
        Machine { last_seen, ..Machine::new(id, track, ip(from), first_seen) }
    }

    #[test]
    fn a_full_table_gives_the_room_of_machines_that_did_not_come_back() {
        let mut app = application();
        app.put_machine(machine("known", "10.0.0.1", [1000, 9000]));
        app.put_machine(machine("late", "10.0.0.2", [3000, 3001]));
        app.put_machine(machine("early", "10.0.0.3", [2000, 2001]));
        let mut room = || app.make_room_within(3, 9, ip("10.0.0.9")).map(|id| id.map(|id| id.to_string()));
        assert_eq!(room(), Ok(Some("early".to_owned())));
        assert_eq!(room(), Ok(None));
        app.put_machine(machine("third", "10.0.0.9", [4000, 4000]));
        app.change(&"late".into(), |late| late.last_seen = 6000);
        assert_eq!(app.make_room_within(3, 9, ip("10.0.0.9")).unwrap().as_deref(), Some("third"));
        app.put_machine(machine("fourth", "10.0.0.9", [4000, 8000]));
        assert_eq!(app.make_room_within(3, 9, ip("10.0.0.9")), Err(Full));
        assert!(["known", "late", "fourth"].iter().all(|id| app.machines.contains_key(*id)));
    }

    #[test]
    fn the_order_of_removal_is_by_the_minute_of_the_last_request() {
        let mut app = application();
        app.put_machine(machine("a", "10.0.0.1", [6000, 6000]));
        app.put_machine(machine("b", "10.0.0.2", [6010, 6010]));
        let mut oldest_after = |last_seen| {
            app.change(&"a".into(), |machine| machine.last_seen = last_seen);
            app.provisional.first().unwrap().1.to_string()
        };
        assert_eq!(oldest_after(6059), "a");
        assert_eq!(oldest_after(6060), "b");
    }

    #[test]
    fn one_source_has_a_share_of_the_table() {
        let mut app = application();
        let full = |app: &mut Application, from: &str| app.make_room_within(9, 2, ip(from)) == Err(Full);
        let machine = |id: &str, from: &str| machine(id, from, [0, 9000]);
        app.put_machine(machine("a", "10.0.0.1"));
        app.put_machine(machine("b", "::ffff:10.0.0.1"));
        assert!(full(&mut app, "10.0.0.1") && !full(&mut app, "10.0.0.2"));
        app.put_machine(machine("c", "2001:db8:1:2::1"));
        app.put_machine(machine("d", "2001:db8:1:2:ffff::9"));
        assert!(full(&mut app, "2001:db8:1:2:3:4:5:6") && !full(&mut app, "2001:db8:1:3::1"));
        // A machine moves to another network.
        app.change(&"a".into(), |machine| machine.ip = ip("10.0.0.2"));
        app.remove_machine("d");
        assert!(!full(&mut app, "10.0.0.1") && !full(&mut app, "2001:db8:1:2::1"));
        // A reverse proxy.
        ["e", "f", "g"].into_iter().for_each(|id| app.put_machine(machine(id, "127.0.0.1")));
        assert!(!full(&mut app, "127.0.0.1"));
        // Registered ones have a room of their own.
        assert_eq!(app.make_room(ip("10.0.0.2"), true), Ok(None));
        app.put_machine(Machine { registered: Some(9000), ..machine("registered", "10.0.0.2") });
        assert!(!full(&mut app, "10.0.0.2"));
        // Machines that did not come back give their room to others of their source.
        app.put_machine(super::tests::machine("once", "10.0.0.3", [0, 0]));
        app.put_machine(machine("known", "10.0.0.3"));
        assert_eq!(app.make_room_within(99, 2, ip("10.0.0.3")).unwrap().as_deref(), Some("once"));
    }
}
