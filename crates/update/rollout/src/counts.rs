//! Counts of a group's machines, so that a check does not iterate over them.

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use semver::Version;

use crate::limits::{PROVISIONAL, VERSIONS};
use crate::machine::{Machine, Status};
use crate::package::is_older;
use crate::track::Track;

const MINUTE: u64 = 60;

/// Counts of the machines of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Machines in total.
    pub machines: usize,
    /// By reported version.
    pub versions: BTreeMap<String, usize>,
    /// Registered machines by reported version.
    pub registered: BTreeMap<String, usize>,
    /// By status; those without machines are absent.
    pub statuses: BTreeMap<Status, usize>,
    /// Time of each machine's last grant, within the period.
    pub(crate) recent_grants: BTreeSet<(u64, Arc<str>)>,
    /// Start of the timeout of each machine with a grant.
    pub(crate) active_grants: BTreeSet<(u64, Arc<str>)>,
    /// Last contact of each machine whose reboot is pending and whose grant has expired.
    pub(crate) reboot_pending: BTreeSet<(u64, Arc<str>)>,
}

/// What one machine contributes to its group's and its application's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contribution<'a> {
    pub track: Cow<'a, Track>,
    version: Cow<'a, str>,
    status: Status,
    recent_grants: Option<u64>,
    active_grants: Option<u64>,
    reboot_pending: Option<u64>,
    pub source: IpAddr,
    pub registered: bool,
    /// The last request of an unregistered machine that was seen for less than [`PROVISIONAL`] seconds, in minutes:
    /// requests of one minute do not change the order of removal.
    pub provisional: Option<u64>,
}

/// The part of a machine's address that one network has.
pub(crate) fn source_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64).into(),
        },
        IpAddr::V4(_) => ip,
    }
}

impl<'a> Contribution<'a> {
    pub fn of(machine: &'a Machine) -> Self {
        Self {
            track: Cow::Borrowed(&machine.track),
            version: machine.version.as_str().into(),
            status: machine.status,
            recent_grants: machine.last_grant.as_ref().map(|(_, at)| *at),
            active_grants: machine.grant.as_ref().map(|grant| grant.renewed),
            reboot_pending: machine.is_reboot_pending().then_some(machine.last_seen),
            source: source_of(machine.ip),
            registered: machine.registered.is_some(),
            provisional: (machine.registered.is_none()
                && machine.last_seen.saturating_sub(machine.first_seen) < PROVISIONAL)
                .then_some(machine.last_seen / MINUTE),
        }
    }

    /// Independent of the machine, to be compared with what it contributes after a change.
    pub fn into_owned(self) -> Contribution<'static> {
        let Self { track, version, .. } = self;
        Contribution {
            track: Cow::Owned(track.into_owned()),
            version: Cow::Owned(version.into_owned()),
            ..self
        }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, id: &Arc<str>, contribution: &Contribution<'_>) {
        self.machines += 1;
        *self.versions.entry(contribution.version.to_string()).or_default() += 1;
        if contribution.registered {
            *self.registered.entry(contribution.version.to_string()).or_default() += 1;
        }
        *self.statuses.entry(contribution.status).or_default() += 1;
        self.recent_grants.extend(contribution.recent_grants.map(|at| (at, id.clone())));
        self.active_grants.extend(contribution.active_grants.map(|at| (at, id.clone())));
        self.reboot_pending.extend(contribution.reboot_pending.map(|at| (at, id.clone())));
    }

    pub(crate) fn remove(&mut self, id: &Arc<str>, contribution: &Contribution<'_>) {
        self.machines = self.machines.saturating_sub(1);
        decrement(&mut self.versions, &*contribution.version);
        if contribution.registered {
            decrement(&mut self.registered, &*contribution.version);
        }
        decrement(&mut self.statuses, &contribution.status);
        if let Some(at) = contribution.recent_grants {
            self.recent_grants.remove(&(at, id.clone()));
        }
        if let Some(at) = contribution.active_grants {
            self.active_grants.remove(&(at, id.clone()));
        }
        if let Some(at) = contribution.reboot_pending {
            self.reboot_pending.remove(&(at, id.clone()));
        }
    }

    /// Machines by version. Beyond [`VERSIONS`], the rarest versions are summed up as `other`.
    pub fn common_versions(&self) -> BTreeMap<String, usize> {
        let mut counts: Vec<(&String, usize)> =
            self.versions.iter().map(|(version, count)| (version, *count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: usize = counts.iter().skip(VERSIONS).map(|(_, count)| count).sum();
        let common = counts.into_iter().take(VERSIONS).map(|(version, count)| (version.clone(), count));
        common.chain((rest > 0).then(|| ("other".to_owned(), rest))).collect()
    }

    /// Machines whose version is older.
    pub(crate) fn older_than(&self, version: &Version) -> usize {
        older(&self.versions, version)
    }

    /// Registered machines whose version is older.
    pub(crate) fn registered_older_than(&self, version: &Version) -> usize {
        older(&self.registered, version)
    }

    /// Machines with an update in progress.
    pub fn in_progress(&self) -> usize {
        self.active_grants.len()
    }

    /// As of the last check of the group.
    pub fn granted_in_period(&self) -> usize {
        self.recent_grants.len()
    }
}

/// A name that is no version counts as older.
fn older(versions: &BTreeMap<String, usize>, version: &Version) -> usize {
    let older = |name: &str| name.parse().map_or(true, |found: Version| is_older(&found, version));
    versions.iter().filter(|(name, _)| older(name)).map(|(_, count)| count).sum()
}

fn decrement<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, usize>, key: &Q) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
