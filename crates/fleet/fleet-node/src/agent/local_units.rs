//! Which units are on this machine, and who is busy with them.

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

/// Called with the units that were launched, by their texts.
pub type SaveUnits = Arc<dyn Fn(&BTreeMap<UnitName, UnitHash>) + Send + Sync>;

pub struct LocalUnits {
    state: Mutex<State>,
    save_units: SaveUnits,
}

#[derive(Default)]
struct State {
    units: BTreeMap<UnitName, LocalUnit>,
    /// Something that takes long is done with them.
    busy: BTreeSet<UnitName>,
    unannounced: BTreeSet<UnitName>,
    /// Adopted units that the fence does not stop, by their texts.
    unfenced: BTreeSet<UnitName>,
    /// Launched ones, as they were last told.
    last_saved: BTreeMap<UnitName, UnitHash>,
    /// systemd may have read something else than what is there now.
    daemon_reload: bool,
    refusals: Refusals,
    /// Units, by their texts, that could not be unloaded, and when.
    unload_failed: BTreeMap<UnitName, (UnitHash, Instant)>,
}

impl LocalUnits {
    pub fn new(save_units: SaveUnits) -> Self {
        Self { state: Mutex::default(), save_units }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // invariant: nothing that is done under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Units of an earlier start run on; what was done with them is not known.
    pub async fn adopt_all<H: UnitManager>(&self, unit_manager: &H, settings: &Settings) {
        let mut backoff = Backoff::new(settings);
        loop {
            match unit_manager.list_unit_files().await {
                Ok(files) => {
                    // Where the only one is stopped next, that is a change.
                    self.lock().last_saved.clone_from(&settings.launched);
                    for (name, file) in files {
                        let launched = settings.launched.get(&name) == Some(&file.hash());
                        self.adopt(&name, &file, launched);
                        if !launched {
                            // The earlier one may have ended when the file was written, and not read yet.
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

    /// Of one that is not known to have been launched, nothing is known.
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

    /// Whether it was adopted and is not to be stopped where the machine is cut off.
    pub fn is_unfenced(&self, name: &UnitName) -> bool {
        self.lock().unfenced.contains(name)
    }

    /// Adopted units of which nothing was said yet.
    pub fn unannounced(&self) -> BTreeSet<UnitName> {
        self.lock().unannounced.clone()
    }

    pub fn set_announced(&self, name: &UnitName) {
        self.lock().unannounced.remove(name);
    }

    /// Should this fleetd be killed, the next one does not start again what was launched already.
    pub fn save(&self) {
        if let Some(launched) = self.changed_launched() {
            (self.save_units)(&launched);
        }
    }

    /// What is being stopped is launched no more, also for the next fleetd.
    pub fn mark_stopping(&self, name: &UnitName) {
        self.set_state(name, JobState::Inactive);
        self.save();
    }

    /// The units that are launched, with their texts; `None` where they are those of the last time.
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

    /// What could not be loaded or started, and why.
    pub fn with_refusals<R>(&self, apply: impl FnOnce(&mut Refusals) -> R) -> R {
        apply(&mut self.lock().refusals)
    }

    /// It could not be unloaded.
    pub fn set_unload_failed(&self, name: &UnitName, hash: UnitHash) {
        let mut state = self.lock();
        state.unload_failed.retain(|_, (_, when)| when.elapsed() < REFUSAL_BACKOFF);
        state.unload_failed.insert(name.clone(), (hash, Instant::now()));
    }

    /// Whether that was just now. To try it is news by itself, of which no further try may come.
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

    /// Whether it is there, or was refused.
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

    /// All of them, and those that are to be left alone.
    pub fn snapshot(&self) -> (BTreeMap<UnitName, LocalUnit>, BTreeSet<UnitName>) {
        let state = self.lock();
        (state.units.clone(), state.busy.clone())
    }

    /// False where it is busy already.
    pub fn mark_busy(&self, name: &UnitName) -> bool {
        self.lock().busy.insert(name.clone())
    }

    pub fn clear_busy(&self, name: &UnitName) {
        self.lock().busy.remove(name);
    }

    pub fn request_daemon_reload(&self) {
        self.lock().daemon_reload = true;
    }

    /// And takes it for done.
    pub fn take_daemon_reload(&self) -> bool {
        std::mem::take(&mut self.lock().daemon_reload)
    }
}
