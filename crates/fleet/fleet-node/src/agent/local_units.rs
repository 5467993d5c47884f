//! The units on this machine and the operations in progress on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::JobState;
use fleet_core::agent::LocalUnit;
use tokio::time::Instant;
use unit_file::{Requirements, UnitFile, UnitHash, UnitName};

use crate::agent::refusals::Refusals;
use crate::backoff::Backoff;
use crate::limits::REFUSAL_BACKOFF;
use crate::settings::Settings;
use crate::unit_manager::UnitManager;

/// Called with the launched units and the hashes of their files.
pub type SaveUnits = Arc<dyn Fn(&BTreeMap<UnitName, UnitHash>) + Send + Sync>;

pub struct LocalUnits {
    state: Mutex<State>,
    save_units: SaveUnits,
}

#[derive(Default)]
struct State {
    units: BTreeMap<UnitName, LocalUnit>,
    /// Units with a long-running operation.
    busy: BTreeSet<UnitName>,
    unannounced: BTreeSet<UnitName>,
    /// Adopted units that the fence does not stop.
    unfenced: BTreeSet<UnitName>,
    /// Launched units as last passed to [`SaveUnits`].
    last_saved: BTreeMap<UnitName, UnitHash>,
    /// systemd may have read an older version of a file.
    daemon_reload: bool,
    refusals: Refusals,
    /// Hash and time of failed unloads.
    unload_failed: BTreeMap<UnitName, (UnitHash, Instant)>,
}

impl LocalUnits {
    pub fn new(save_units: SaveUnits) -> Self {
        Self { state: Mutex::default(), save_units }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // invariant: nothing under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adopts the units that an earlier fleetd left running. Their agent state is unknown.
    pub async fn adopt_all<H: UnitManager>(&self, unit_manager: &H, settings: &Settings) {
        let mut backoff = Backoff::new(settings);
        loop {
            match unit_manager.list_unit_files().await {
                Ok(files) => {
                    // Otherwise stopping the only launched unit would not count as a change.
                    self.lock().last_saved.clone_from(&settings.launched);
                    for (name, file) in files {
                        let launched = settings.launched.get(&name) == Some(&file.hash());
                        self.adopt(&name, &file, launched);
                        if !launched {
                            // The earlier fleetd may have been killed between writing the file and reloading systemd.
                            self.request_daemon_reload();
                        }
                    }
                    return;
                }
                Err(error) => tracing::error!("looking for units that are here: {error}"),
            }
            backoff.wait().await;
        }
    }

    /// A unit that was not saved as launched starts as inactive: its state is unknown.
    fn adopt(&self, name: &UnitName, file: &UnitFile, launched: bool) {
        let job_state = if launched { JobState::Launched } else { JobState::Inactive };
        let (requirements, _) = Requirements::read(file, name);
        let mut state = self.lock();
        state.units.insert(name.clone(), LocalUnit { hash: file.hash(), state: job_state });
        if launched {
            state.unannounced.insert(name.clone());
        }
        if requirements.outlasts_partition() {
            state.unfenced.insert(name.clone());
        }
    }

    /// Whether the unit was adopted and keeps running on a partitioned machine.
    pub fn is_unfenced(&self, name: &UnitName) -> bool {
        self.lock().unfenced.contains(name)
    }

    /// Adopted units whose keys are not published yet.
    pub fn unannounced(&self) -> BTreeSet<UnitName> {
        self.lock().unannounced.clone()
    }

    pub fn set_announced(&self, name: &UnitName) {
        self.lock().unannounced.remove(name);
    }

    /// Saves the launched units, so that fleetd does not start them again after a crash.
    pub fn save(&self) {
        if let Some(launched) = self.changed_launched() {
            (self.save_units)(&launched);
        }
    }

    /// A unit that is being stopped does not count as launched, also after a restart of fleetd.
    pub fn mark_stopping(&self, name: &UnitName) {
        self.set_state(name, JobState::Inactive);
        self.save();
    }

    /// The launched units with their hashes; `None` if unchanged since the last call.
    fn changed_launched(&self) -> Option<BTreeMap<UnitName, UnitHash>> {
        let mut state = self.lock();
        let launched = state.units.iter().filter(|(_, local)| local.state == JobState::Launched);
        let launched: BTreeMap<_, _> = launched.map(|(name, local)| (name.clone(), local.hash)).collect();
        if launched == state.last_saved {
            return None;
        }
        state.last_saved.clone_from(&launched);
        Some(launched)
    }

    pub fn insert_loaded(&self, name: &UnitName, hash: UnitHash) {
        let mut state = self.lock();
        state.units.insert(name.clone(), LocalUnit { hash, state: JobState::Loaded });
        state.unfenced.remove(name);
    }

    pub fn with_refusals<R>(&self, apply: impl FnOnce(&mut Refusals) -> R) -> R {
        apply(&mut self.lock().refusals)
    }

    pub fn set_unload_failed(&self, name: &UnitName, hash: UnitHash) {
        let mut state = self.lock();
        state.unload_failed.retain(|_, (_, when)| when.elapsed() < REFUSAL_BACKOFF);
        state.unload_failed.insert(name.clone(), (hash, Instant::now()));
    }

    /// Whether an unload failed recently. A failed unload changes states, which must not trigger the next attempt.
    pub fn unload_recently_failed(&self, name: &UnitName, hash: UnitHash) -> bool {
        let unload_failed = self.lock().unload_failed.get(name).copied();
        unload_failed.is_some_and(|(of, when)| of == hash && when.elapsed() < REFUSAL_BACKOFF)
    }

    pub fn set_state(&self, name: &UnitName, state: JobState) {
        if let Some(local) = self.lock().units.get_mut(name) {
            local.state = state;
        }
    }

    pub fn remove(&self, name: &UnitName) {
        let mut state = self.lock();
        state.units.remove(name);
        state.unannounced.remove(name);
        state.unfenced.remove(name);
    }

    pub fn contains(&self, name: &UnitName) -> bool {
        self.lock().units.contains_key(name)
    }

    /// Whether the unit is on this machine or was refused by it.
    pub fn has_or_refused(&self, name: &UnitName) -> bool {
        let state = self.lock();
        state.units.contains_key(name) || state.refusals.contains(name)
    }

    pub fn hash(&self, name: &UnitName) -> Option<UnitHash> {
        Some(self.lock().units.get(name)?.hash)
    }

    pub fn state(&self, name: &UnitName) -> Option<JobState> {
        Some(self.lock().units.get(name)?.state)
    }

    pub fn names(&self) -> BTreeSet<UnitName> {
        self.lock().units.keys().cloned().collect()
    }

    /// All units, and those with an operation in progress.
    pub fn snapshot(&self) -> (BTreeMap<UnitName, LocalUnit>, BTreeSet<UnitName>) {
        let state = self.lock();
        (state.units.clone(), state.busy.clone())
    }

    /// Returns false if the unit is busy already.
    pub fn mark_busy(&self, name: &UnitName) -> bool {
        self.lock().busy.insert(name.clone())
    }

    pub fn clear_busy(&self, name: &UnitName) {
        self.lock().busy.remove(name);
    }

    pub fn request_daemon_reload(&self) {
        self.lock().daemon_reload = true;
    }

    /// Whether systemd must reload. Clears the request.
    pub fn take_daemon_reload(&self) -> bool {
        std::mem::take(&mut self.lock().daemon_reload)
    }
}
