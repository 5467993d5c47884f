//! The registry's state, updated by the events of one watch. Long because it handles and queries every kind of key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_api::additions::Refusal;
use unit_file::{Requirements, UnitFile, UnitHash, UnitName};

use crate::fence_key::FenceKey;
use crate::job_state::JobState;
use crate::machine::{Capacity, Cordon, Machine, MachineId};
use crate::registry::key::Key;
use crate::registry::lease::Lease;
use crate::registry::subject::Subject;
use crate::registry::value::{JobObject, MachineObject, Rollout, UnitObject, UnitState, ValueError};
use crate::schedule::Scheduler;
use crate::unit::Unit;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct MachineEntry {
    object: Option<MachineObject>,
    metadata: BTreeMap<String, String>,
    instance: Option<String>,
    capacity: Capacity,
    cordon: Cordon,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct JobEntry {
    hash: Option<UnitHash>,
    /// From the unit file with that hash, under this name.
    requirements: Option<Arc<Requirements>>,
    desired: JobState,
    target: Option<MachineId>,
    launched_by: Option<MachineId>,
    pin: Option<MachineId>,
    rollout: Option<Rollout>,
}

/// The state of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    machines: BTreeMap<MachineId, MachineEntry>,
    jobs: BTreeMap<UnitName, JobEntry>,
    /// Assigned units by machine, and global units: each machine queries its own at each change.
    assigned: BTreeMap<MachineId, BTreeSet<UnitName>>,
    global: BTreeSet<UnitName>,
    files: BTreeMap<UnitHash, Arc<UnitFile>>,
    /// Units by unit file.
    users: BTreeMap<UnitHash, BTreeSet<UnitName>>,
    /// One map, since most units have one state and a map per unit would need ten times the memory.
    states: BTreeMap<(UnitName, MachineId), UnitState>,
    lease: Option<Lease>,
    engine_version: Option<String>,
    fence_key: Option<FenceKey>,
}

impl View {
    /// A view of all keys, from pairs of path and value, and the invalid values.
    pub fn read<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Self, Vec<ValueError>) {
        let mut view = Self::default();
        let errors = pairs.into_iter().filter_map(|(path, value)| view.put(path, value).err()).collect();
        (view, errors)
    }

    /// Handles a write. Returns its subjects; unknown keys have none. An invalid value counts as missing, an invalid
    /// desired state as `inactive`.
    pub fn put(&mut self, path: &str, value: &str) -> Result<Vec<Subject>, ValueError> {
        let Some(key) = Key::parse(path) else { return Ok(Vec::new()) };
        let before = self.claimant_state(&key);
        match self.apply(&key, value) {
            Ok(mut subjects) => {
                subjects.extend(before);
                subjects.extend(self.claimant_state(&key));
                Ok(subjects)
            }
            Err(cause) => {
                self.clear_key(&key);
                Err(ValueError { path: path.to_owned(), cause })
            }
        }
    }

    /// The state subject of the machine that claims the unit, if `key` is a job state.
    fn claimant_state(&self, key: &Key) -> Option<Subject> {
        let Key::JobState(name) = key else { return None };
        let claimer = self.jobs.get(name)?.launched_by.clone()?;
        Some(Subject::State(name.clone(), claimer))
    }

    /// Whether a machine has the unit or is about to: it publishes the state of a loaded unit, or claims the unit.
    /// Claims of global units do not count.
    fn is_held(&self, name: &UnitName, id: &MachineId) -> bool {
        let claims = || {
            let job = self.jobs.get(name).filter(|job| job.launched_by.as_ref() == Some(id));
            job.is_some_and(|job| job.requirements.as_ref().is_some_and(|requirements| !requirements.global))
        };
        self.state(name, id).is_some_and(UnitState::is_loaded) || claims()
    }

    /// Whether another present machine has loaded the unit.
    pub fn is_loaded_elsewhere(&self, name: &UnitName, id: &MachineId) -> bool {
        let mut others = self.states_of(name).filter(|(holder, _)| *holder != id);
        others.any(|(holder, state)| state.is_loaded() && self.is_present(holder))
    }

    /// States of a unit by machine id.
    pub fn states_of(&self, name: &UnitName) -> impl Iterator<Item = (&MachineId, &UnitState)> {
        let first = (name.clone(), MachineId::new(""));
        let of_it = self.states.range(first..).take_while(move |((unit, _), _)| unit == name);
        of_it.map(|((_, id), state)| (id, state))
    }

    /// Why a machine does not run the unit's current version.
    pub fn refusal(&self, name: &UnitName, id: &MachineId) -> Option<&Refusal> {
        let state = self.state(name, id).filter(|state| Some(state.hash) == self.hash(name))?;
        state.refusal.as_ref()
    }

    fn apply(&mut self, key: &Key, value: &str) -> Result<Vec<Subject>, String> {
        match key {
            Key::MachineObject(id) => {
                let object = MachineObject::decode(value)?;
                self.machine_entry(id).object = Some(object);
            }
            Key::MachineMetadata(id, key) => {
                self.machine_entry(id).metadata.insert(key.clone(), value.to_owned());
            }
            Key::MachineInstance(id) => self.machine_entry(id).instance = Some(value.to_owned()),
            Key::MachineCapacity(id) => self.machine_entry(id).capacity = Capacity::decode(value)?,
            Key::MachineCordon(id) => {
                self.machine_entry(id).cordon =
                    Cordon::decode(value).ok_or("neither `cordoned` nor `draining`")?;
            }
            Key::JobObject(name) => {
                let object = JobObject::decode(value)?;
                self.set_hash(name, Some(object.hash));
            }
            Key::TargetState(name) => self.job(name).desired = value.parse().unwrap_or_default(),
            Key::Target(name) => {
                let id = self.machine_id(value);
                self.set_target(name, Some(id));
            }
            Key::JobState(name) => self.job(name).launched_by = Some(self.machine_id(value)),
            Key::Pin(name) => self.job(name).pin = Some(self.machine_id(value)),
            Key::Rollout(name) => self.job(name).rollout = Some(Rollout::decode(value)?),
            Key::Unit(hash) => return self.apply_unit_file(*hash, value),
            Key::State(name, id) => {
                let mut state = UnitState::decode(value)?;
                state.machine = self.machine_id(state.machine.as_str());
                let id = self.machine_id(id.as_str());
                self.states.insert((name.clone(), id), state);
            }
            Key::LegacyState(_) => {}
            Key::EngineLeader => self.lease = Some(Lease::decode(value)),
            Key::EngineVersion => self.engine_version = Some(value.to_owned()),
            Key::FenceKey => self.fence_key = Some(FenceKey::decode(value)?),
        }
        Ok(key.subject().into_iter().collect())
    }

    fn apply_unit_file(&mut self, hash: UnitHash, value: &str) -> Result<Vec<Subject>, String> {
        let text = UnitObject::decode(value)?.raw;
        let file = UnitFile::from_text(&text).map_err(|error| format!("{}: {error}", error.position))?;
        let found = file.hash();
        if found != hash {
            return Err(format!("the unit file has the hash {found}"));
        }
        self.files.insert(hash, Arc::new(file));
        let users = self.users.get(&hash).cloned().unwrap_or_default();
        for name in &users {
            self.set_hash(name, Some(hash));
        }
        Ok(users.into_iter().map(Subject::Unit).collect())
    }

    /// Handles the deletion or expiration of a key, or of a directory.
    pub fn delete(&mut self, path: &str) -> Vec<Subject> {
        if let Some(key) = Key::parse(path) {
            let claimant_state = self.claimant_state(&key);
            self.clear_key(&key);
            return key.subject().into_iter().chain(claimant_state).collect();
        }
        match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["job", name] => {
                let Ok(name) = UnitName::parse(name) else { return Vec::new() };
                let claimant_state = self.claimant_state(&Key::JobState(name.clone()));
                self.set_hash(&name, None);
                self.set_target(&name, None);
                self.jobs.remove(&name);
                [Subject::Unit(name)].into_iter().chain(claimant_state).collect()
            }
            ["machines", id] => {
                self.machines.remove(id);
                vec![Subject::Machine(MachineId::new(id))]
            }
            ["machines", id, "metadata"] => {
                let id = MachineId::new(id);
                self.machine_entry(&id).metadata.clear();
                vec![Subject::Machine(id)]
            }
            ["states", name] => {
                let Ok(name) = UnitName::parse(name) else { return Vec::new() };
                let from = (name.clone(), MachineId::new(""));
                let below = self.states.range(from..).take_while(|((of, _), _)| *of == name);
                let removed: Vec<_> = below.map(|(key, _)| key.clone()).collect();
                for key in &removed {
                    self.states.remove(key);
                }
                removed.into_iter().map(|(name, id)| Subject::State(name, id)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn clear_key(&mut self, key: &Key) {
        match key {
            Key::MachineObject(id) => self.machine_entry(id).object = None,
            Key::MachineMetadata(id, key) => {
                self.machine_entry(id).metadata.remove(key);
            }
            Key::MachineInstance(id) => self.machine_entry(id).instance = None,
            Key::MachineCapacity(id) => self.machine_entry(id).capacity = Capacity::default(),
            Key::MachineCordon(id) => self.machine_entry(id).cordon = Cordon::Open,
            Key::JobObject(name) => self.set_hash(name, None),
            Key::TargetState(name) => self.job(name).desired = JobState::Inactive,
            Key::Target(name) => self.set_target(name, None),
            Key::JobState(name) => self.job(name).launched_by = None,
            Key::Pin(name) => self.job(name).pin = None,
            Key::Rollout(name) => self.job(name).rollout = None,
            // A unit file is identified by its hash: while units use it, it remains valid after deletion.
            Key::Unit(hash) => {
                if !self.users.contains_key(hash) {
                    self.files.remove(hash);
                }
            }
            Key::LegacyState(_) => {}
            Key::State(name, id) => {
                self.states.remove(&(name.clone(), id.clone()));
            }
            Key::EngineLeader => self.lease = None,
            Key::EngineVersion => self.engine_version = None,
            Key::FenceKey => self.fence_key = None,
        }
        self.drop_empty(key);
    }

    /// Removes an entry without contents.
    fn drop_empty(&mut self, key: &Key) {
        match key.subject() {
            Some(Subject::Machine(id)) if self.machines.get(&id) == Some(&MachineEntry::default()) => {
                self.machines.remove(&id);
            }
            Some(Subject::Unit(name)) if self.jobs.get(&name) == Some(&JobEntry::default()) => {
                self.jobs.remove(&name);
            }
            _ => {}
        }
    }

    fn machine_entry(&mut self, id: &MachineId) -> &mut MachineEntry {
        self.machines.entry(id.clone()).or_default()
    }

    /// Shares known ids, which occur in every unit.
    fn machine_id(&self, id: &str) -> MachineId {
        self.machines.get_key_value(id).map_or_else(|| MachineId::new(id), |(known, _)| known.clone())
    }

    fn set_target(&mut self, name: &UnitName, target: Option<MachineId>) {
        let before = std::mem::replace(&mut self.job(name).target, target.clone());
        if let Some(before) = before.filter(|before| Some(before) != target.as_ref())
            && let Some(units) = self.assigned.get_mut(&before)
        {
            units.remove(name);
            if units.is_empty() {
                self.assigned.remove(&before);
            }
        }
        if let Some(target) = target {
            self.assigned.entry(target).or_default().insert(name.clone());
        }
    }

    fn job(&mut self, name: &UnitName) -> &mut JobEntry {
        self.jobs.entry(name.clone()).or_default()
    }

    /// An unused unit file is kept while it is in the store: a unit that uses it again is created without an event
    /// for the file.
    fn set_hash(&mut self, name: &UnitName, hash: Option<UnitHash>) {
        let before = self.job(name).hash;
        if let Some(before) = before.filter(|before| Some(*before) != hash)
            && let Some(users) = self.users.get_mut(&before)
        {
            users.remove(name);
            if users.is_empty() {
                self.users.remove(&before);
            }
        }
        if let Some(hash) = hash {
            self.users.entry(hash).or_default().insert(name.clone());
        }
        let requirements = hash.and_then(|hash| {
            let read = Requirements::read(self.files.get(&hash)?, name).0;
            // Units with the same file mostly have the same requirements.
            let another = self.users.get(&hash)?.iter().find(|user| *user != name);
            let known = another.and_then(|user| self.jobs.get(user)?.requirements.as_ref());
            Some(known.filter(|known| ***known == read).cloned().unwrap_or_else(|| Arc::new(read)))
        });
        if requirements.as_ref().is_some_and(|requirements| requirements.global) {
            self.global.insert(name.clone());
        } else {
            self.global.remove(name);
        }
        let job = self.job(name);
        (job.hash, job.requirements) = (hash, requirements);
    }

    /// Updates `subject` in the scheduler. `unreachable` are machines without a presence that are not considered
    /// failed yet.
    pub fn update_scheduler(
        &self,
        subject: &Subject,
        unreachable: &BTreeMap<MachineId, Machine>,
        scheduler: &mut Scheduler,
    ) {
        match subject {
            Subject::Machine(id) => match self.machine(id).or_else(|| unreachable.get(id).cloned()) {
                Some(machine) => scheduler.set_machine(machine),
                None => scheduler.remove_machine(id),
            },
            Subject::Unit(name) => {
                // A new version has not been refused yet.
                for (id, _) in self.states_of(name) {
                    scheduler.set_refused(name, id, self.refusal(name, id));
                }
                match self.unit(name) {
                    Some(unit) => scheduler.set_unit(unit),
                    None => scheduler.remove_unit(name),
                }
            }
            Subject::State(name, id) => {
                scheduler.set_held(name, id, self.is_held(name, id));
                scheduler.set_refused(name, id, self.refusal(name, id));
            }
            Subject::Lease | Subject::EngineVersion => {}
        }
    }

    /// All subjects, to initialize a scheduler.
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let machines = self.machines.keys().cloned().map(Subject::Machine);
        let units = self.jobs.keys().cloned().map(Subject::Unit);
        let states = self.states.keys().cloned().map(|(name, id)| Subject::State(name, id));
        let claims = self.jobs.keys().filter_map(|name| self.claimant_state(&Key::JobState(name.clone())));
        machines
            .chain(units)
            .chain(states)
            .chain(claims)
            .chain([Subject::Lease, Subject::EngineVersion])
            .collect()
    }

    /// A unit with an entry and a unit file.
    pub fn unit(&self, name: &UnitName) -> Option<Unit> {
        let job = self.jobs.get(name)?;
        Some(Unit {
            name: name.clone(),
            desired: job.desired,
            requirements: job.requirements.clone()?,
            target: job.target.clone(),
            pin: job.pin.clone(),
        })
    }

    /// By name.
    pub fn units(&self) -> impl Iterator<Item = Unit> {
        self.jobs.keys().filter_map(|name| self.unit(name))
    }

    /// By name.
    pub fn unit_names(&self) -> impl Iterator<Item = &UnitName> {
        self.jobs.iter().filter(|(_, job)| job.requirements.is_some()).map(|(name, _)| name)
    }

    /// Units that may concern a machine: assigned to it, global, or in `local` and moved away with overlap. The cost
    /// depends on these units only, since every machine calls this at each of its changes.
    pub fn units_for(&self, id: &MachineId, local: &BTreeSet<UnitName>) -> Vec<Unit> {
        let may_overlap =
            |name: &&UnitName| self.requirements(name).is_some_and(|requirements| requirements.overlap);
        let own = self.assigned.get(id).into_iter().flatten();
        let names: BTreeSet<&UnitName> =
            own.chain(&self.global).chain(local.iter().filter(may_overlap)).collect();
        names.into_iter().filter_map(|name| self.unit(name)).collect()
    }

    pub fn requirements(&self, name: &UnitName) -> Option<&Requirements> {
        self.jobs.get(name)?.requirements.as_deref()
    }

    pub fn file(&self, name: &UnitName) -> Option<&Arc<UnitFile>> {
        self.files.get(&self.hash(name)?)
    }

    /// Unit files that no unit uses.
    pub fn unreferenced_files(&self) -> impl Iterator<Item = UnitHash> {
        self.files.keys().filter(|hash| !self.users.contains_key(*hash)).copied()
    }

    /// Destroyed units with remaining keys that do not expire, for example after a delayed write of the engine.
    pub fn orphaned_units(&self) -> impl Iterator<Item = &UnitName> {
        let has_keys = |job: &JobEntry| {
            job.desired != JobState::Inactive
                || job.target.is_some()
                || job.pin.is_some()
                || job.rollout.is_some()
        };
        self.jobs.iter().filter(move |(_, job)| job.hash.is_none() && has_keys(job)).map(|(name, _)| name)
    }

    /// Whether any unit uses this unit file.
    pub fn is_used(&self, hash: UnitHash) -> bool {
        self.users.contains_key(&hash)
    }

    pub fn hash(&self, name: &UnitName) -> Option<UnitHash> {
        self.jobs.get(name)?.hash
    }

    pub fn rollout(&self, name: &UnitName) -> Option<&Rollout> {
        self.jobs.get(name)?.rollout.as_ref()
    }

    /// The API's current state; `None` for global and unknown units.
    pub fn current_state(&self, name: &UnitName) -> Option<JobState> {
        let job = self.jobs.get(name)?;
        if job.requirements.as_ref()?.global {
            return None;
        }
        let target_state = job.target.as_ref().and_then(|target| Some((target, self.state(name, target)?)));
        let Some((target, state)) = target_state.filter(|(_, state)| state.is_loaded()) else {
            return Some(JobState::Inactive);
        };
        // The claim precedes each attempt to start.
        let launched = state.refusal.is_none() && job.launched_by.as_ref() == Some(target);
        Some(if launched { JobState::Launched } else { JobState::Loaded })
    }

    /// Whether the machine's presence exists.
    pub fn is_present(&self, id: &MachineId) -> bool {
        self.machines.get(id).is_some_and(|entry| entry.object.is_some())
    }

    /// A present machine.
    pub fn machine(&self, id: &MachineId) -> Option<Machine> {
        let entry = self.machines.get(id)?;
        let object = entry.object.as_ref()?;
        let mut metadata = object.metadata.clone();
        metadata.extend(entry.metadata.clone());
        metadata.retain(|key, value| !value.is_empty() || !entry.metadata.contains_key(key));
        Some(Machine {
            id: id.clone(),
            metadata,
            capacity: entry.capacity,
            cordon: entry.cordon,
            unreachable: false,
        })
    }

    /// The machine's presence.
    pub fn machine_object(&self, id: &MachineId) -> Option<&MachineObject> {
        self.machines.get(id)?.object.as_ref()
    }

    /// The instance of fleetd that wrote the presence.
    pub fn instance(&self, id: &MachineId) -> Option<&str> {
        self.machines.get(id)?.instance.as_deref()
    }

    /// Present machines by id.
    pub fn machines(&self) -> impl Iterator<Item = Machine> {
        self.machines.keys().filter_map(|id| self.machine(id))
    }

    pub fn state(&self, name: &UnitName, id: &MachineId) -> Option<&UnitState> {
        self.states.get(&(name.clone(), id.clone()))
    }

    /// By unit name, then machine id.
    pub fn states(&self) -> impl Iterator<Item = (&UnitName, &UnitState)> {
        self.states.iter().map(|((name, _), state)| (name, state))
    }

    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    pub fn fence_key(&self) -> Option<&FenceKey> {
        self.fence_key.as_ref()
    }

    pub fn engine_version(&self) -> Option<&str> {
        self.engine_version.as_deref()
    }
}
