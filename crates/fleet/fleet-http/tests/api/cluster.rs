//! An in-memory cluster: the keys of fleetd, the scheduler, and machines that execute tasks immediately.

use std::sync::{Mutex, MutexGuard};

use fleet_api::additions::{Plan, Step};
use fleet_core::registry::{
    Key, MachineObject, UnitState, View, Write, writes_for_new_unit, writes_for_task,
};
use fleet_core::schedule::Scheduler;
use fleet_core::{Cordon, JobState, MachineId};
use fleet_http::{Backend, Failure};
use unit_file::{UnitFile, UnitName};

pub const ME: &str = "113f16a7e3c54b1da5d60f4f1e2d3c4b";
pub const OTHER: &str = "20fd3ecb1a2b4c5d8e9f001122334455";
/// Its hash starts with `0291f12`.
pub const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1\n";
pub const GLOBAL: &str = "[Service]\nExecStart=/bin/sleep 1\n\n[X-Fleet]\nGlobal=true\n";

pub struct Cluster {
    pub store: Mutex<Store>,
    me: MachineId,
}

#[derive(Default)]
pub struct Store {
    pub view: View,
    scheduler: Scheduler,
    /// Fails all requests.
    pub unavailable: bool,
    /// Result of every change.
    pub failure: Option<Failure>,
}

impl Cluster {
    /// A cluster of two machines without units.
    pub fn empty() -> Self {
        let mut store = Store::default();
        for (id, ip, metadata) in [(ME, "172.17.8.101", ("az", "x")), (OTHER, "", ("disk", "ssd"))] {
            let object = MachineObject {
                id: MachineId::new(id),
                public_ip: ip.into(),
                metadata: [(metadata.0.into(), metadata.1.into())].into(),
                disable_engine: false,
                version: "1.0.0".into(),
            };
            store.put(&Key::MachineObject(object.id.clone()), &object.encode());
        }
        Self { store: Mutex::new(store), me: MachineId::new(ME) }
    }

    /// With a unit on each machine, a global one, one that cannot be scheduled, and a template.
    pub fn with_units() -> Self {
        let cluster = Self::empty();
        for (name, text, desired) in [
            ("glob.service", GLOBAL, JobState::Launched),
            ("hello.service", SLEEP, JobState::Launched),
            ("stuck.service", "[X-Fleet]\nMachineID=nope\n", JobState::Launched),
            ("there.service", &format!("[X-Fleet]\nMachineID={OTHER}\n"), JobState::Loaded),
            ("web@.service", SLEEP, JobState::Inactive),
        ] {
            cluster.store().create(name, text, desired);
        }
        cluster
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Store) -> bool) -> Result<(), Failure> {
        let mut store = self.store();
        if let Some(failure) = &store.failure {
            return Err(failure.clone());
        }
        if change(&mut store) { Ok(()) } else { Err(Failure::Missing) }
    }
}

impl Store {
    pub fn put(&mut self, key: &Key, value: &str) {
        for subject in self.view.put(&key.path(), value).unwrap() {
            self.view.update_scheduler(&subject, &Default::default(), &mut self.scheduler);
        }
    }

    pub fn delete(&mut self, path: &str) {
        for subject in self.view.delete(path) {
            self.view.update_scheduler(&subject, &Default::default(), &mut self.scheduler);
        }
    }

    pub fn create(&mut self, name: &str, text: &str, desired: JobState) {
        let file = UnitFile::from_text(text).unwrap();
        self.write(writes_for_new_unit(&UnitName::parse(name).unwrap(), &file, desired));
        self.settle();
    }

    fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            match write {
                Write::Set { key, value }
                | Write::Create { key, value }
                | Write::Swap { key, to: value, .. } => {
                    self.put(&key, &value);
                }
                Write::DeleteIf { key, .. } => self.delete(&key.path()),
            }
        }
    }

    /// Runs until no tasks are left.
    fn settle(&mut self) {
        loop {
            let tasks = self.scheduler.pass();
            tasks.iter().for_each(|task| self.write(writes_for_task(task)));
            if tasks.is_empty() {
                break;
            }
        }
        let units: Vec<_> = self.view.units().collect();
        let machines: Vec<_> = self.view.machines().map(|machine| machine.id).collect();
        for unit in units {
            let here = |id: &MachineId| unit.requirements.global || unit.target.as_ref() == Some(id);
            for id in &machines {
                let key = Key::State(unit.name.clone(), id.clone());
                if !unit.is_desired() || !here(id) {
                    self.delete(&key.path());
                    continue;
                }
                let launched = unit.desired == JobState::Launched;
                let (active, sub) = if launched { ("active", "running") } else { ("inactive", "dead") };
                let state = UnitState {
                    load: "loaded".into(),
                    active: active.into(),
                    sub: sub.into(),
                    machine: id.clone(),
                    hash: self.view.hash(&unit.name).unwrap(),
                    refusal: None,
                };
                self.put(&key, &state.encode());
                match launched {
                    true => self.put(&Key::JobState(unit.name.clone()), id.as_str()),
                    false => self.delete(&Key::JobState(unit.name.clone()).path()),
                }
            }
        }
    }
}

impl Backend for Cluster {
    fn with_view<R>(&self, read: impl FnOnce(&View, &Scheduler) -> R) -> Option<R> {
        let store = self.store();
        (!store.unavailable).then(|| read(&store.view, &store.scheduler))
    }

    async fn create(&self, name: &UnitName, file: &UnitFile, desired: JobState) -> Result<(), Failure> {
        self.change(|store| {
            store.write(writes_for_new_unit(name, file, desired));
            store.settle();
            true
        })
    }

    async fn set_desired(&self, name: &UnitName, desired: JobState) -> Result<(), Failure> {
        self.change(|store| {
            store.put(&Key::TargetState(name.clone()), desired.as_str());
            store.settle();
            true
        })
    }

    async fn destroy(&self, name: &UnitName) -> Result<(), Failure> {
        self.change(|store| {
            let known = store.view.hash(name).is_some();
            store.delete(&format!("job/{name}"));
            store.delete(&format!("states/{name}"));
            known
        })
    }

    async fn set_metadata(&self, machine: &MachineId, key: &str, value: &str) -> Result<(), Failure> {
        self.change(|store| {
            store.put(&Key::MachineMetadata(machine.clone(), key.to_owned()), value);
            true
        })
    }

    async fn set_cordon(&self, machine: &MachineId, cordon: Cordon) -> Result<(), Failure> {
        let key = Key::MachineCordon(machine.clone());
        self.change(|store| {
            match cordon.encode() {
                Some(value) => store.put(&key, value),
                None => store.delete(&key.path()),
            }
            true
        })
    }

    async fn rebalance(&self) -> Result<Plan, Failure> {
        self.change(|_| true)?;
        let step = Step { action: "move".into(), name: "begun.service".into(), ..Step::default() };
        Ok(Plan { steps: vec![step] })
    }

    fn me(&self) -> &MachineId {
        &self.me
    }

    fn metrics(&self) -> String {
        "fleet_engine_reconcile_count_total 1\n".into()
    }
}
