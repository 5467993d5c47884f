//! Which units are on this machine, and who is busy with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cluster::JobState;
use cluster::agent::Found;
use tokio::time::Instant;
use unit_file::{UnitHash, UnitName};

use crate::agent::refusals::Refusals;
use crate::limits::REFUSED_FOR;

#[derive(Default)]
pub struct There(Mutex<Units>);

#[derive(Default)]
struct Units {
    found: BTreeMap<UnitName, Found>,
    /// Something that takes long is done with them.
    busy: BTreeSet<UnitName>,
    not_greeted: BTreeSet<UnitName>,
    /// Launched ones, as they were last told.
    told: BTreeMap<UnitName, UnitHash>,
    /// systemd may have read something else than what is there now.
    reload: bool,
    refusals: Refusals,
    /// Units, by their texts, that could not be unloaded, and when.
    stuck: BTreeMap<UnitName, (UnitHash, Instant)>,
}

impl There {
    fn units(&self) -> MutexGuard<'_, Units> {
        // invariant: nothing that is done under this lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Found at the start. Of one that is not known to have been launched, nothing is known.
    pub fn adopt(&self, name: &UnitName, hash: UnitHash, launched: bool) {
        let state = if launched { JobState::Launched } else { JobState::Inactive };
        let mut units = self.units();
        units.found.insert(name.clone(), Found { hash, state });
        if launched {
            units.not_greeted.insert(name.clone());
        }
    }

    /// Adopted units of which nothing was said yet.
    pub fn not_greeted(&self) -> BTreeSet<UnitName> {
        self.units().not_greeted.clone()
    }

    pub fn greeted(&self, name: &UnitName) {
        self.units().not_greeted.remove(name);
    }

    /// The units that are launched, with their texts; `None` where they are those of the last time.
    pub fn newly_launched(&self) -> Option<BTreeMap<UnitName, UnitHash>> {
        let mut units = self.units();
        let launched = units.found.iter().filter(|(_, found)| found.state == JobState::Launched);
        let launched: BTreeMap<_, _> = launched.map(|(name, found)| (name.clone(), found.hash)).collect();
        if launched == units.told {
            return None;
        }
        units.told.clone_from(&launched);
        Some(launched)
    }

    pub fn loaded(&self, name: &UnitName, hash: UnitHash) {
        self.units().found.insert(name.clone(), Found { hash, state: JobState::Loaded });
    }

    /// What could not be loaded or started, and why.
    pub fn refusals<R>(&self, look: impl FnOnce(&mut Refusals) -> R) -> R {
        look(&mut self.units().refusals)
    }

    /// It could not be unloaded.
    pub fn stuck(&self, name: &UnitName, hash: UnitHash) {
        let mut units = self.units();
        units.stuck.retain(|_, (_, when)| when.elapsed() < REFUSED_FOR);
        units.stuck.insert(name.clone(), (hash, Instant::now()));
    }

    /// Whether that was just now. To try it is news by itself, of which no further try may come.
    pub fn is_stuck(&self, name: &UnitName, hash: UnitHash) -> bool {
        let stuck = self.units().stuck.get(name).copied();
        stuck.is_some_and(|(of, when)| of == hash && when.elapsed() < REFUSED_FOR)
    }

    pub fn set_state(&self, name: &UnitName, state: JobState) {
        if let Some(found) = self.units().found.get_mut(name) {
            found.state = state;
        }
    }

    pub fn gone(&self, name: &UnitName) {
        let mut units = self.units();
        units.found.remove(name);
        units.not_greeted.remove(name);
    }

    pub fn is_there(&self, name: &UnitName) -> bool {
        self.units().found.contains_key(name)
    }

    /// Whether it is there, or was refused.
    pub fn has(&self, name: &UnitName) -> bool {
        let units = self.units();
        units.found.contains_key(name) || units.refusals.has(name)
    }

    pub fn hash(&self, name: &UnitName) -> Option<UnitHash> {
        Some(self.units().found.get(name)?.hash)
    }

    pub fn state(&self, name: &UnitName) -> Option<JobState> {
        Some(self.units().found.get(name)?.state)
    }

    pub fn names(&self) -> BTreeSet<UnitName> {
        self.units().found.keys().cloned().collect()
    }

    /// All of them, and those that are to be left alone.
    pub fn all(&self) -> (BTreeMap<UnitName, Found>, BTreeSet<UnitName>) {
        let units = self.units();
        (units.found.clone(), units.busy.clone())
    }

    /// False where it is busy already.
    pub fn begin(&self, name: &UnitName) -> bool {
        self.units().busy.insert(name.clone())
    }

    pub fn end(&self, name: &UnitName) {
        self.units().busy.remove(name);
    }

    pub fn reload_later(&self) {
        self.units().reload = true;
    }

    /// And takes it for done.
    pub fn reload_is_due(&self) -> bool {
        std::mem::take(&mut self.units().reload)
    }
}
