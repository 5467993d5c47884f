//! A machine of the simulation: what its systemd has, and what really runs. It outlives the fleetd on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fleet_core::RefusalScope;
use fleet_node::{Hands, HandsChange, HandsError, Memory, RememberUnits, Reread, SystemdState};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitHash, UnitName};

use crate::ledger::Ledger;

#[derive(Clone)]
pub struct Machine {
    number: usize,
    ledger: Ledger,
    /// How long a unit takes to stop at most.
    longest_stop: Duration,
    systemd: Arc<Mutex<Systemd>>,
    /// What survives a fleetd, but not the machine.
    pub memory: Arc<Mutex<Option<Memory>>>,
    pub launched: Arc<Mutex<BTreeMap<UnitName, UnitHash>>>,
}

struct Systemd {
    units: BTreeMap<UnitName, Unit>,
    /// Units whose files are gone, and that are in the memory.
    remains: BTreeSet<UnitName>,
    listeners: Vec<mpsc::Sender<HandsChange>>,
    chance: fastrand::Rng,
    /// Rises with each crash: what was begun before is nothing any more.
    boot: u64,
    refused: usize,
    refuses_all: bool,
    /// Units that the machine has by itself: it takes none of the cluster's of the name.
    own: BTreeSet<UnitName>,
}

struct Unit {
    file: UnitFile,
    known: Known,
    active: &'static str,
}

/// What systemd has in its memory of a unit's file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    AsItIs,
    /// It has not looked for it since it is there.
    Unseen,
    /// Something else: it has to read its files again.
    Other,
}

impl Machine {
    pub fn new(number: usize, ledger: Ledger, longest_stop: Duration, chance: fastrand::Rng) -> Self {
        let (units, remains, listeners) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let (refused, refuses_all, own) = (0, false, BTreeSet::new());
        let systemd = Systemd { units, remains, listeners, chance, boot: 0, refused, refuses_all, own };
        Self {
            number,
            ledger,
            longest_stop,
            systemd: Arc::new(Mutex::new(systemd)),
            memory: Arc::default(),
            launched: Arc::default(),
        }
    }

    pub fn remember_units(&self) -> RememberUnits {
        let launched = self.launched.clone();
        Arc::new(move |now| launched.lock().unwrap().clone_from(now))
    }

    fn systemd(&self) -> MutexGuard<'_, Systemd> {
        self.systemd.lock().unwrap()
    }

    /// The power is cut: all that ran has ended, and `/run` is empty.
    pub fn crash(&self) {
        let mut systemd = self.systemd();
        systemd.boot += 1;
        systemd.listeners.clear();
        systemd.remains.clear();
        for name in std::mem::take(&mut systemd.units).into_keys() {
            self.ledger.stopped(&name, self.number);
        }
        *self.memory.lock().unwrap() = None;
        self.launched.lock().unwrap().clear();
    }

    fn set(&self, boot: u64, name: &UnitName, active: &'static str) {
        let mut systemd = self.systemd();
        if systemd.boot != boot {
            return;
        }
        let Some(unit) = systemd.units.get_mut(name) else { return };
        let before = std::mem::replace(&mut unit.active, active);
        let (wanted, _) = unit_file::Requirements::read(&unit.file, name);
        let alone = !wanted.global && !wanted.overlap && wanted.stop_on_partition;
        let runs = |state: &str| matches!(state, "active" | "activating" | "deactivating");
        if runs(active) && !runs(before) {
            self.ledger.started(name, self.number, alone);
        } else if !runs(active) && runs(before) {
            self.ledger.stopped(name, self.number);
        }
        systemd
            .listeners
            .retain(|listener| listener.try_send(HandsChange::State(name.clone(), state_of(active))).is_ok());
        if name.as_str().ends_with(".timer") && active == "active" {
            tokio::spawn(self.clone().trigger(boot, name.clone()));
        }
    }

    /// A timer starts the service of its name again and again, whatever fleetd did with that.
    async fn trigger(self, boot: u64, timer: UnitName) {
        let service = UnitName::parse(&timer.as_str().replace(".timer", ".service")).unwrap();
        let active = |name: &UnitName| self.systemd().units.get(name).map(|unit| unit.active);
        while self.boot() == boot && active(&timer) == Some("active") {
            if matches!(active(&service), Some("inactive" | "failed")) {
                self.set(boot, &service, "active");
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Units are named after what systemd does not do with them.
    fn refuses(&self, what: &str, name: &UnitName) -> Result<(), HandsError> {
        let mut systemd = self.systemd();
        let scope = if what == "load" && systemd.own.contains(name) {
            RefusalScope::Machine
        } else if name.as_str().starts_with(&format!("refused-{what}")) {
            RefusalScope::Unit
        } else if systemd.refuses_all {
            RefusalScope::Temporary
        } else {
            return Ok(());
        };
        systemd.refused += 1;
        Err(HandsError { text: format!("{what} is refused"), load: "error", scope })
    }

    /// Whether the machine has a unit of that name by itself.
    pub fn set_own(&self, name: &UnitName, own: bool) {
        let mut systemd = self.systemd();
        if own {
            systemd.own.insert(name.clone())
        } else {
            systemd.own.remove(name)
        };
    }

    /// Whether it does nothing at all.
    pub fn set_refuses_all(&self, refuses: bool) {
        self.systemd().refuses_all = refuses;
    }

    /// How often it was asked for that.
    pub fn refused(&self) -> usize {
        self.systemd().refused
    }

    /// systemd has that to say of a unit, whoever did it.
    pub fn shows(&self, name: &UnitName, active: &'static str) {
        self.set(self.boot(), name, active);
    }

    fn boot(&self) -> u64 {
        self.systemd().boot
    }

    fn millis(&self, most: u64) -> Duration {
        Duration::from_millis(self.systemd().chance.u64(1..most))
    }

    async fn call(&self) {
        let wait = self.millis(10);
        sleep(wait).await;
    }
}

fn needed_if(needed: bool) -> Reread {
    if needed { Reread::Needed } else { Reread::NotNeeded }
}

/// It has ended and is to be started again: in the unit's place for its active state.
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

impl Hands for Machine {
    async fn found(&self) -> Result<BTreeMap<UnitName, UnitFile>, HandsError> {
        self.call().await;
        let systemd = self.systemd();
        Ok(systemd.units.iter().map(|(name, unit)| (name.clone(), unit.file.clone())).collect())
    }

    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<Reread, HandsError> {
        self.call().await;
        self.refuses("load", name)?;
        let mut systemd = self.systemd();
        // As a unit is where others want it.
        let needed = systemd.units.contains_key(name)
            || systemd.remains.contains(name)
            || systemd.chance.u32(0..4) == 0;
        let known = if needed { Known::Other } else { Known::Unseen };
        let unit = systemd.units.entry(name.clone()).or_insert_with(|| Unit {
            file: file.clone(),
            known,
            active: "inactive",
        });
        (unit.file, unit.known) = (file.clone(), known);
        Ok(needed_if(needed))
    }

    async fn unload(&self, name: &UnitName) -> Result<Reread, HandsError> {
        self.refuses("unload", name)?;
        let boot = self.boot();
        self.stop(name).await?;
        self.set(boot, name, "inactive");
        let mut systemd = self.systemd();
        // Another unit may keep it in the memory.
        let remains = systemd.chance.u32(0..4) == 0;
        if systemd.boot == boot && systemd.units.remove(name).is_some() && remains {
            systemd.remains.insert(name.clone());
        }
        Ok(needed_if(remains))
    }

    async fn find(&self, names: &[UnitName]) -> Result<(), HandsError> {
        self.call().await;
        let mut systemd = self.systemd();
        let new = systemd.units.iter_mut().filter(|(name, _)| names.contains(name));
        for unit in new.map(|(_, unit)| unit).filter(|unit| unit.known == Known::Unseen) {
            unit.known = Known::AsItIs;
        }
        Ok(())
    }

    async fn reload(&self) -> Result<(), HandsError> {
        self.call().await;
        let mut systemd = self.systemd();
        systemd.remains.clear();
        systemd.units.values_mut().for_each(|unit| unit.known = Known::AsItIs);
        Ok(())
    }

    async fn start(&self, name: &UnitName) -> Result<(), HandsError> {
        self.call().await;
        self.refuses("start", name)?;
        let boot = self.boot();
        let found = self.systemd().units.get(name).map(|unit| (unit.active, unit.known));
        if found.is_some_and(|(_, known)| known != Known::AsItIs) {
            self.ledger.fault(format!("{name} is started on {}, and systemd has not read it", self.number));
        }
        match found.map(|(active, _)| active) {
            Some("inactive" | "failed") => {}
            // systemd starts it when the stop job has ended.
            Some("deactivating") => {
                let (machine, name) = (self.clone(), name.clone());
                tokio::spawn(async move {
                    while machine.systemd().units.get(&name).is_some_and(|unit| unit.active == "deactivating")
                    {
                        sleep(Duration::from_millis(20)).await;
                    }
                    if machine.boot() == boot {
                        machine.set(boot, &name, "active");
                    }
                });
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.set(boot, name, "activating");
        let (machine, name, after) = (self.clone(), name.clone(), self.millis(300));
        // systemd's own work: it goes on without fleetd.
        tokio::spawn(async move {
            sleep(after).await;
            let activating =
                machine.systemd().units.get(&name).is_some_and(|unit| unit.active == "activating");
            if activating {
                machine.set(boot, &name, "active");
            }
        });
        Ok(())
    }

    async fn stop(&self, name: &UnitName) -> Result<(), HandsError> {
        self.call().await;
        let (machine, boot, name) = (self.clone(), self.boot(), name.clone());
        self.ledger.tell(&format!("{name} is being stopped on {}", self.number));
        // Most end at once when they are told; some only when they are killed.
        let stubborn = self.systemd().chance.u32(0..5) == 0;
        let longest = if stubborn { self.longest_stop } else { Duration::from_secs(3) };
        let takes = self.millis(u64::try_from(longest.as_millis()).unwrap());
        let stopping = tokio::spawn(async move {
            let active = || machine.systemd().units.get(&name).map(|unit| unit.active);
            match active() {
                Some("active" | "activating") => machine.set(boot, &name, "deactivating"),
                Some("deactivating") => {}
                _ => return machine.set(boot, &name, "inactive"),
            }
            let begun = Instant::now();
            while begun.elapsed() < takes && active() == Some("deactivating") {
                sleep(Duration::from_millis(20)).await;
            }
            // Where it is started again, it had ended before that.
            if active() == Some("deactivating") {
                machine.set(boot, &name, "inactive");
            }
        });
        stopping.await.unwrap();
        Ok(())
    }

    async fn kill(&self, name: &UnitName) -> Result<(), HandsError> {
        self.call().await;
        self.ledger.tell(&format!("{name} is killed on {}", self.number));
        self.set(self.boot(), name, "failed");
        Ok(())
    }

    async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, HandsError> {
        self.call().await;
        let systemd = self.systemd();
        let of = |name: &UnitName| Some((name.clone(), state_of(systemd.units.get(name)?.active)));
        Ok(names.iter().filter_map(of).collect())
    }

    fn changes(&self) -> mpsc::Receiver<HandsChange> {
        let (sender, receiver) = mpsc::channel(1024);
        self.systemd().listeners.push(sender);
        receiver
    }
}
