//! Which units are on this machine, and who is busy with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::JobState;
use fleet_core::agent::Found;
use tokio::time::Instant;
use unit_file::{Requirements, UnitFile, UnitHash, UnitName};

use crate::agent::refusals::Refusals;
use crate::backoff::Backoff;
use crate::hands::Hands;
use crate::limits::REFUSED_FOR;
use crate::settings::Settings;

/// Called with the units that were launched, by their texts.
pub type RememberUnits = Arc<dyn Fn(&BTreeMap<UnitName, UnitHash>) + Send + Sync>;

pub struct There {
    units: Mutex<Units>,
    remember_units: RememberUnits,
}

#[derive(Default)]
struct Units {
    found: BTreeMap<UnitName, Found>,
    /// Something that takes long is done with them.
    busy: BTreeSet<UnitName>,
    not_greeted: BTreeSet<UnitName>,
    /// Adopted units that the fence does not stop, by their texts.
    unfenced: BTreeSet<UnitName>,
    /// Launched ones, as they were last told.
    told: BTreeMap<UnitName, UnitHash>,
    /// systemd may have read something else than what is there now.
    reload: bool,
    refusals: Refusals,
    /// Units, by their texts, that could not be unloaded, and when.
    stuck: BTreeMap<UnitName, (UnitHash, Instant)>,
}

impl There {
    pub fn new(remember_units: RememberUnits) -> Self {
        Self { units: Mutex::default(), remember_units }
    }

    fn units(&self) -> MutexGuard<'_, Units> {
        // invariant: nothing that is done under this lock panics.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Units of an earlier start run on; what was done with them is not known.
    pub async fn adopt_all<H: Hands>(&self, hands: &H, settings: &Settings) {
        let mut backoff = Backoff::new(settings);
        loop {
            match hands.found().await {
                Ok(files) => {
                    // Where the only one is stopped next, that is a change.
                    self.units().told.clone_from(&settings.launched);
                    for (name, file) in files {
                        let launched = settings.launched.get(&name) == Some(&file.hash());
                        self.adopt(&name, &file, launched);
                        if !launched {
                            // The earlier one may have ended when the file was written, and not read yet.
                            self.reload_later();
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
        let state = if launched { JobState::Launched } else { JobState::Inactive };
        let (wanted, _) = Requirements::read(file, name);
        let mut units = self.units();
        units.found.insert(name.clone(), Found { hash: file.hash(), state });
        if launched {
            units.not_greeted.insert(name.clone());
        }
        if wanted.outlasts_partition() {
            units.unfenced.insert(name.clone());
        }
    }

    /// Whether it was adopted and is not to be stopped where the machine is cut off.
    pub fn is_unfenced(&self, name: &UnitName) -> bool {
        self.units().unfenced.contains(name)
    }

    /// Adopted units of which nothing was said yet.
    pub fn not_greeted(&self) -> BTreeSet<UnitName> {
        self.units().not_greeted.clone()
    }

    pub fn greeted(&self, name: &UnitName) {
        self.units().not_greeted.remove(name);
    }

    /// Should this fleetd be killed, the next one does not start again what was launched already.
    pub fn remember(&self) {
        if let Some(launched) = self.newly_launched() {
            (self.remember_units)(&launched);
        }
    }

    /// What is being stopped is launched no more, also for the next fleetd.
    pub fn will_stop(&self, name: &UnitName) {
        self.set_state(name, JobState::Inactive);
        self.remember();
    }

    /// The units that are launched, with their texts; `None` where they are those of the last time.
    fn newly_launched(&self) -> Option<BTreeMap<UnitName, UnitHash>> {
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
        let mut units = self.units();
        units.found.insert(name.clone(), Found { hash, state: JobState::Loaded });
        units.unfenced.remove(name);
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
        units.unfenced.remove(name);
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
