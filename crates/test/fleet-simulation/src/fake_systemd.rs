//! A machine's systemd and the processes that run. It outlives the fleetd on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleet_core::RefusalScope;
use fleet_node::{
    NeedDaemonReload, SaveState, SaveUnits, SavedState, SystemdState, UnitManager, UnitManagerError,
    UnitManagerEvent,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitHash, UnitName};

use crate::ledger::Ledger;

#[derive(Clone)]
pub struct FakeSystemd {
    number: usize,
    ledger: Ledger,
    max_stop_time: Duration,
    state: Arc<Mutex<State>>,
    /// State that survives a restart of fleetd, but not of the machine.
    pub saved_state: Arc<Mutex<Option<SavedState>>>,
    pub launched: Arc<Mutex<BTreeMap<UnitName, UnitHash>>>,
}

struct State {
    units: BTreeMap<UnitName, Unit>,
    /// Units without a file that systemd still has in memory.
    removed_but_cached: BTreeSet<UnitName>,
    listeners: Vec<mpsc::Sender<UnitManagerEvent>>,
    rng: fastrand::Rng,
    /// Incremented by each crash, which invalidates operations in progress.
    boot: u64,
    refused_calls: usize,
    refuse_all: bool,
    /// Units that belong to the machine: units of the cluster with these names are refused.
    own_units: BTreeSet<UnitName>,
}

struct Unit {
    file: UnitFile,
    loaded_text: LoadedText,
    active: &'static str,
}

/// systemd's copy of a unit file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoadedText {
    Current,
    /// Not loaded yet.
    NotLoaded,
    /// An older version: a daemon-reload is needed.
    Outdated,
}

impl FakeSystemd {
    pub fn new(number: usize, ledger: Ledger, max_stop_time: Duration, rng: fastrand::Rng) -> Self {
        let (units, removed_but_cached, listeners) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let (refused_calls, refuse_all, own_units) = (0, false, BTreeSet::new());
        let state = State {
            units,
            removed_but_cached,
            listeners,
            rng,
            boot: 0,
            refused_calls,
            refuse_all,
            own_units,
        };
        Self {
            number,
            ledger,
            max_stop_time,
            state: Arc::new(Mutex::new(state)),
            saved_state: Arc::default(),
            launched: Arc::default(),
        }
    }

    pub fn save_state(&self) -> SaveState {
        let saved_state = self.saved_state.clone();
        Arc::new(move |now| *saved_state.lock().unwrap() = Some(now.clone()))
    }

    pub fn save_units(&self) -> SaveUnits {
        let launched = self.launched.clone();
        Arc::new(move |now| launched.lock().unwrap().clone_from(now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Power failure: all units have ended and `/run` is empty.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.boot += 1;
        state.listeners.clear();
        state.removed_but_cached.clear();
        for name in std::mem::take(&mut state.units).into_keys() {
            self.ledger.stopped(&name, self.number);
        }
        *self.saved_state.lock().unwrap() = None;
        self.launched.lock().unwrap().clear();
    }

    fn set_state_of(&self, boot: u64, name: &UnitName, active: &'static str) {
        let mut state = self.lock();
        if state.boot != boot {
            return;
        }
        let Some(unit) = state.units.get_mut(name) else { return };
        let before = std::mem::replace(&mut unit.active, active);
        let (requirements, _) = unit_file::Requirements::read(&unit.file, name);
        let exclusive = !requirements.global && !requirements.overlap && requirements.stop_on_partition;
        let runs = |state: &str| matches!(state, "active" | "activating" | "deactivating");
        if runs(active) && !runs(before) {
            self.ledger.started(name, self.number, exclusive);
        } else if !runs(active) && runs(before) {
            self.ledger.stopped(name, self.number);
        }
        state.listeners.retain(|listener| {
            listener.try_send(UnitManagerEvent::StateChanged(name.clone(), state_of(active))).is_ok()
        });
        if name.as_str().ends_with(".timer") && active == "active" {
            tokio::spawn(self.clone().trigger(boot, name.clone()));
        }
    }

    /// A timer starts its service repeatedly, independent of fleetd.
    async fn trigger(self, boot: u64, timer: UnitName) {
        let service = UnitName::parse(&timer.as_str().replace(".timer", ".service")).unwrap();
        let active = |name: &UnitName| self.lock().units.get(name).map(|unit| unit.active);
        while self.boot() == boot && active(&timer) == Some("active") {
            if matches!(active(&service), Some("inactive" | "failed")) {
                self.set_state_of(boot, &service, "active");
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Unit names select the operations that fail.
    fn check_refusal(&self, what: &str, name: &UnitName) -> Result<(), UnitManagerError> {
        let mut state = self.lock();
        let scope = if what == "load" && state.own_units.contains(name) {
            RefusalScope::Machine
        } else if name.as_str().starts_with(&format!("refused-{what}")) {
            RefusalScope::Unit
        } else if state.refuse_all {
            RefusalScope::Temporary
        } else {
            return Ok(());
        };
        state.refused_calls += 1;
        Err(UnitManagerError { text: format!("{what} is refused"), load: "error", scope })
    }

    /// Whether the machine has a unit of that name itself.
    pub fn set_own_unit(&self, name: &UnitName, is_own: bool) {
        let mut state = self.lock();
        if is_own {
            state.own_units.insert(name.clone())
        } else {
            state.own_units.remove(name)
        };
    }

    /// Makes all operations fail.
    pub fn set_refuse_all(&self, refuse: bool) {
        self.lock().refuse_all = refuse;
    }

    /// Number of refused operations.
    pub fn refused_calls(&self) -> usize {
        self.lock().refused_calls
    }

    /// Changes the state of a unit, as by its own processes.
    pub fn set_active_state(&self, name: &UnitName, active: &'static str) {
        self.set_state_of(self.boot(), name, active);
    }

    fn boot(&self) -> u64 {
        self.lock().boot
    }

    fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.lock().rng.u64(1..most))
    }

    async fn delay(&self) {
        let wait = self.millis(10);
        sleep(wait).await;
    }
}

fn need_reload_if(needed: bool) -> NeedDaemonReload {
    if needed { NeedDaemonReload::Yes } else { NeedDaemonReload::No }
}

/// Substate of a unit that is about to be restarted; used as its active state.
pub const AUTO_RESTART: &str = "auto-restart";

fn state_of(active: &str) -> SystemdState {
    let sub = match active {
        "active" => "running",
        "activating" => "start",
        "deactivating" => "stop-sigterm",
        "failed" => "failed",
        AUTO_RESTART => {
            return SystemdState {
                active: "activating".into(),
                sub: AUTO_RESTART.into(),
                load: "loaded".into(),
            };
        }
        _ => "dead",
    };
    SystemdState { load: "loaded".into(), active: active.into(), sub: sub.into() }
}

impl UnitManager for FakeSystemd {
    async fn list_unit_files(&self) -> Result<BTreeMap<UnitName, UnitFile>, UnitManagerError> {
        self.delay().await;
        let state = self.lock();
        Ok(state.units.iter().map(|(name, unit)| (name.clone(), unit.file.clone())).collect())
    }

    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<NeedDaemonReload, UnitManagerError> {
        self.delay().await;
        self.check_refusal("load", name)?;
        let mut state = self.lock();
        // Randomly, as for a unit that other units refer to.
        let needed = state.units.contains_key(name)
            || state.removed_but_cached.contains(name)
            || state.rng.u32(0..4) == 0;
        let loaded_text = if needed { LoadedText::Outdated } else { LoadedText::NotLoaded };
        let unit = state.units.entry(name.clone()).or_insert_with(|| Unit {
            file: file.clone(),
            loaded_text,
            active: "inactive",
        });
        (unit.file, unit.loaded_text) = (file.clone(), loaded_text);
        Ok(need_reload_if(needed))
    }

    async fn unload(&self, name: &UnitName) -> Result<NeedDaemonReload, UnitManagerError> {
        self.check_refusal("unload", name)?;
        let boot = self.boot();
        self.stop(name).await?;
        self.set_state_of(boot, name, "inactive");
        let mut state = self.lock();
        // Another unit may keep it in memory.
        let removed_but_cached = state.rng.u32(0..4) == 0;
        if state.boot == boot && state.units.remove(name).is_some() && removed_but_cached {
            state.removed_but_cached.insert(name.clone());
        }
        Ok(need_reload_if(removed_but_cached))
    }

    async fn discover(&self, names: &[UnitName]) -> Result<(), UnitManagerError> {
        self.delay().await;
        let mut state = self.lock();
        let new = state.units.iter_mut().filter(|(name, _)| names.contains(name));
        for unit in new.map(|(_, unit)| unit).filter(|unit| unit.loaded_text == LoadedText::NotLoaded) {
            unit.loaded_text = LoadedText::Current;
        }
        Ok(())
    }

    async fn daemon_reload(&self) -> Result<(), UnitManagerError> {
        self.delay().await;
        let mut state = self.lock();
        state.removed_but_cached.clear();
        state.units.values_mut().for_each(|unit| unit.loaded_text = LoadedText::Current);
        Ok(())
    }

    async fn start(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        self.delay().await;
        self.check_refusal("start", name)?;
        let boot = self.boot();
        let found = self.lock().units.get(name).map(|unit| (unit.active, unit.loaded_text));
        if found.is_some_and(|(_, loaded_text)| loaded_text != LoadedText::Current) {
            self.ledger.fault(format!("{name} is started on {}, and systemd has not read it", self.number));
        }
        match found.map(|(active, _)| active) {
            Some("inactive" | "failed") => {}
            // systemd starts it after the stop job.
            Some("deactivating") => {
                let (machine, name) = (self.clone(), name.clone());
                tokio::spawn(async move {
                    while machine.lock().units.get(&name).is_some_and(|unit| unit.active == "deactivating") {
                        sleep(Duration::from_millis(20)).await;
                    }
                    if machine.boot() == boot {
                        machine.set_state_of(boot, &name, "active");
                    }
                });
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.set_state_of(boot, name, "activating");
        let (machine, name, start_time) = (self.clone(), name.clone(), self.millis(300));
        // Continues without fleetd, as systemd does.
        tokio::spawn(async move {
            sleep(start_time).await;
            let activating = machine.lock().units.get(&name).is_some_and(|unit| unit.active == "activating");
            if activating {
                machine.set_state_of(boot, &name, "active");
            }
        });
        Ok(())
    }

    async fn stop(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        self.delay().await;
        let (machine, boot, name) = (self.clone(), self.boot(), name.clone());
        self.ledger.log(&format!("{name} is being stopped on {}", self.number));
        // Most units stop immediately; some only after SIGKILL.
        let ignores_sigterm = self.lock().rng.u32(0..5) == 0;
        let max_stop = if ignores_sigterm { self.max_stop_time } else { Duration::from_secs(3) };
        let stop_time = self.millis(u64::try_from(max_stop.as_millis()).unwrap());
        let stopping = tokio::spawn(async move {
            let active = || machine.lock().units.get(&name).map(|unit| unit.active);
            match active() {
                Some("active" | "activating") => machine.set_state_of(boot, &name, "deactivating"),
                Some("deactivating") => {}
                _ => return machine.set_state_of(boot, &name, "inactive"),
            }
            let started = Instant::now();
            while started.elapsed() < stop_time && active() == Some("deactivating") {
                sleep(Duration::from_millis(20)).await;
            }
            // If it was started again, it has stopped before.
            if active() == Some("deactivating") {
                machine.set_state_of(boot, &name, "inactive");
            }
        });
        stopping.await.unwrap();
        Ok(())
    }

    async fn kill(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        self.delay().await;
        self.ledger.log(&format!("{name} is killed on {}", self.number));
        self.set_state_of(self.boot(), name, "failed");
        Ok(())
    }

    async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, UnitManagerError> {
        self.delay().await;
        let state = self.lock();
        let of = |name: &UnitName| Some((name.clone(), state_of(state.units.get(name)?.active)));
        Ok(names.iter().filter_map(of).collect())
    }

    fn events(&self) -> mpsc::Receiver<UnitManagerEvent> {
        let (sender, receiver) = mpsc::channel(1024);
        self.lock().listeners.push(sender);
        receiver
    }
}
