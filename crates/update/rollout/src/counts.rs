//! What is counted of a group's machines, so that a check costs no walk over them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::limits::VERSIONS;
use crate::machine::{Machine, Status};
use crate::track::Track;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub machines: usize,
    pub versions: BTreeMap<String, usize>,
    pub statuses: BTreeMap<Status, usize>,
    /// When each machine was granted something last, within the period.
    pub(crate) recent: BTreeSet<(u64, Arc<str>)>,
    /// From when the time of each machine runs that is on its way.
    pub(crate) busy: BTreeSet<(u64, Arc<str>)>,
    /// Last contact of each machine whose reboot is pending and whose grant has expired.
    pub(crate) installed: BTreeSet<(u64, Arc<str>)>,
}

/// What one machine adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub track: Track,
    version: String,
    status: Status,
    recent: Option<u64>,
    busy: Option<u64>,
    installed: Option<u64>,
}

impl Share {
    pub fn of(machine: &Machine) -> Self {
        Self {
            track: machine.track.clone(),
            version: machine.version.clone(),
            status: machine.status,
            recent: machine.last_grant.as_ref().map(|(_, at)| *at),
            busy: machine.grant.as_ref().map(|grant| grant.renewed),
            installed: machine.is_reboot_pending().then_some(machine.last_seen),
        }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, id: &Arc<str>, share: &Share) {
        self.machines += 1;
        *self.versions.entry(share.version.clone()).or_default() += 1;
        *self.statuses.entry(share.status).or_default() += 1;
        self.recent.extend(share.recent.map(|at| (at, id.clone())));
        self.busy.extend(share.busy.map(|at| (at, id.clone())));
        self.installed.extend(share.installed.map(|at| (at, id.clone())));
    }

    pub(crate) fn remove(&mut self, id: &Arc<str>, share: &Share) {
        self.machines = self.machines.saturating_sub(1);
        less(&mut self.versions, &share.version);
        less(&mut self.statuses, &share.status);
        if let Some(at) = share.recent {
            self.recent.remove(&(at, id.clone()));
        }
        if let Some(at) = share.busy {
            self.busy.remove(&(at, id.clone()));
        }
        if let Some(at) = share.installed {
            self.installed.remove(&(at, id.clone()));
        }
    }

    /// Machines by version. Where there are many versions, those with the fewest machines are `other` together.
    pub fn common_versions(&self) -> BTreeMap<String, usize> {
        let mut counts: Vec<(&String, usize)> =
            self.versions.iter().map(|(version, count)| (version, *count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: usize = counts.iter().skip(VERSIONS).map(|(_, count)| count).sum();
        let common = counts.into_iter().take(VERSIONS).map(|(version, count)| (version.clone(), count));
        common.chain((rest > 0).then(|| ("other".to_owned(), rest))).collect()
    }

    pub fn in_progress(&self) -> usize {
        self.busy.len()
    }

    /// As of the last check of the group.
    pub fn granted_in_period(&self) -> usize {
        self.recent.len()
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
