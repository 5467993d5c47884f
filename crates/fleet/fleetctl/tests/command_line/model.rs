//! A small cluster: stores units, schedules them to the machine with the fewest, loads and launches them, one step per
//! poll. The systemd state depends on the contents of the unit only.

use std::collections::BTreeMap;

use fleet_api::additions::{Cordon, Explanation, Plan, Step, Verdict};
use fleet_api::{JobState, Machine, Unit, UnitState};
use unit_file::{Requirements, UnitName};

#[derive(Debug, Default)]
pub struct Model {
    pub machines: Vec<Machine>,
    pub units: BTreeMap<String, Stored>,
    /// Polls until a unit advances by one step; 0 executes all steps immediately.
    pub polls_per_step: u32,
    /// How often units were started, by name.
    pub starts: BTreeMap<String, u32>,
}

#[derive(Debug, Clone)]
pub struct Stored {
    pub unit: Unit,
    pub requirements: Requirements,
    polls: u32,
    /// The unit on its machine.
    job: Option<Job>,
}

#[derive(Debug, Clone)]
struct Job {
    hash: String,
    launched: bool,
    broken: bool,
    /// The target is removed and this machine is still stopping the unit.
    stopping_on: Option<String>,
}

impl Model {
    /// One machine has no address, as in the acceptance list.
    pub fn with_three_machines() -> Model {
        let machine = |id: &str, ip: &str, metadata: &[(&str, &str)]| Machine {
            id: id.into(),
            primary_ip: ip.into(),
            metadata: metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            ..Machine::default()
        };
        Model {
            machines: vec![
                machine(
                    "113f16a7e3c54b1da5d60f4f1e2d3c4b",
                    "172.17.8.101",
                    &[("region", "us"), ("disk", "ssd")],
                ),
                machine("20fd3ecb1a2b4c5d8e9f001122334455", "", &[]),
                machine("8145ebb7a1b2c3d4e5f60718293a4b5c", "172.17.8.105", &[("region", "eu")]),
            ],
            ..Model::default()
        }
    }

    pub fn put(&mut self, unit: &Unit) {
        let name = UnitName::parse(&unit.name).unwrap();
        let (requirements, _) = Requirements::read(&unit.file(), &name);
        let old = self.units.remove(&unit.name);
        let (machine_id, job) = match old {
            Some(old) => (old.unit.machine_id, old.job),
            None => (String::new(), None),
        };
        let unit = Unit { machine_id, ..unit.clone() };
        self.units.insert(unit.name.clone(), Stored { unit, requirements, polls: 0, job });
        self.converge();
    }

    pub fn set_desired(&mut self, name: &str, desired: &str) {
        let stored = self.units.get_mut(name).unwrap();
        let restarts = desired == "launched" && stored.unit.desired_state == "launched";
        stored.unit.desired_state = desired.to_owned();
        stored.polls = 0;
        if restarts && let Some(job) = &mut stored.job {
            (job.launched, job.broken) = (true, false);
            *self.starts.entry(name.to_owned()).or_default() += 1;
        }
        self.converge();
    }

    pub fn destroy(&mut self, name: &str) -> bool {
        self.units.remove(name).is_some()
    }

    /// Executes all steps if there is no delay.
    fn converge(&mut self) {
        if self.polls_per_step == 0 {
            let names: Vec<String> = self.units.keys().cloned().collect();
            for _ in 0..4 {
                names.iter().for_each(|name| self.step(name));
            }
        }
    }

    pub fn poll(&mut self, name: &str) {
        let Some(stored) = self.units.get_mut(name) else { return };
        stored.polls += 1;
        if self.polls_per_step > 0 && stored.polls.is_multiple_of(self.polls_per_step) {
            self.step(name);
        }
    }

    fn step(&mut self, name: &str) {
        let target = self.schedule(name);
        let stored = self.units.get_mut(name).unwrap();
        if stored.requirements.global || UnitName::parse(name).unwrap().is_template() {
            return;
        }
        let desired: JobState = stored.unit.desired_state.parse().unwrap();
        if desired == JobState::Inactive {
            let machine = std::mem::take(&mut stored.unit.machine_id);
            match &mut stored.job {
                Some(job) if job.launched && job.stopping_on.is_none() => job.stopping_on = Some(machine),
                job => *job = None,
            }
            return;
        }
        if stored.job.as_ref().is_some_and(|job| job.stopping_on.is_some()) {
            stored.job = None;
            return;
        }
        if stored.unit.machine_id.is_empty() {
            match target {
                Ok(machine) => {
                    stored.unit.machine_id = machine;
                    stored.unit.scheduling_message.clear();
                }
                Err(why) => stored.unit.scheduling_message = why,
            }
            return;
        }
        let hash = stored.unit.file().hash().to_string();
        let launch = desired == JobState::Launched;
        match &mut stored.job {
            Some(job) if job.hash == hash && job.launched == launch => {}
            Some(job) if job.hash == hash => {
                job.launched = launch;
                if launch {
                    *self.starts.entry(name.to_owned()).or_default() += 1;
                }
            }
            job => {
                let text = stored.unit.file().normalised();
                *job = Some(Job {
                    hash,
                    launched: false,
                    broken: text.contains("/bin/false"),
                    stopping_on: None,
                });
            }
        }
    }

    /// The eligible machine with the fewest units.
    fn schedule(&self, name: &str) -> Result<String, String> {
        let verdicts = self.verdicts(name);
        let best = verdicts.iter().filter(|verdict| verdict.eligible).min_by_key(|verdict| verdict.load);
        best.map(|verdict| verdict.machine_id.clone())
            .ok_or_else(|| "none of the machines fits it".to_owned())
    }

    fn verdicts(&self, name: &str) -> Vec<Verdict> {
        let requirements = &self.units[name].requirements;
        let verdict = |machine: &Machine| {
            let mut reasons = Vec::new();
            let local_units: Vec<&String> = self
                .units
                .iter()
                .filter(|(other, stored)| *other != name && stored.unit.machine_id == machine.id)
                .map(|(other, _)| other)
                .collect();
            if requirements.machine_id.as_ref().is_some_and(|id| !machine.id.starts_with(id.as_str())) {
                reasons.push("MachineID names another machine".to_owned());
            }
            for (key, values) in &requirements.metadata {
                if !machine.metadata.get(key).is_some_and(|value| values.contains(value)) {
                    reasons.push(format!("its metadata {key:?} is not what MachineMetadata asks for"));
                }
            }
            for other in local_units
                .iter()
                .filter(|other| requirements.conflicts.iter().any(|glob| glob.matches(other)))
            {
                reasons.push(format!("Conflicts with {other}, which is there"));
            }
            if !machine.cordon.is_open() {
                reasons.push(format!("it is {}", machine.cordon));
            }
            Verdict {
                eligible: reasons.is_empty(),
                load: local_units.len() as u64,
                machine_id: machine.id.clone(),
                reasons,
            }
        };
        self.machines.iter().map(verdict).collect()
    }

    pub fn unit(&self, name: &str) -> Option<Unit> {
        let stored = self.units.get(name)?;
        let mut unit = stored.unit.clone();
        if !stored.requirements.global {
            let state = match &stored.job {
                Some(job) if job.stopping_on.is_some() => JobState::Inactive,
                None => JobState::Inactive,
                Some(job) if job.launched => JobState::Launched,
                Some(_) => JobState::Loaded,
            };
            unit.current_state = state.to_string();
        }
        Some(unit)
    }

    /// Sorted by unit, then by machine.
    pub fn states(&self) -> Vec<UnitState> {
        let mut states = Vec::new();
        for (name, stored) in &self.units {
            let state = |machine: &str, hash: &str, active: &str, sub: &str| UnitState {
                hash: hash.into(),
                machine_id: machine.into(),
                name: name.clone(),
                systemd_active_state: active.into(),
                systemd_load_state: "loaded".into(),
                systemd_sub_state: sub.into(),
                refusal: None,
            };
            if stored.requirements.global && stored.unit.desired_state != "inactive" {
                let hash = stored.unit.file().hash().to_string();
                states.extend(
                    self.machines.iter().map(|machine| state(&machine.id, &hash, "active", "running")),
                );
            } else if let Some(job) = &stored.job {
                let (active, sub) = match (job.launched, job.broken) {
                    _ if job.stopping_on.is_some() => ("deactivating", "stop-sigterm"),
                    (false, _) => ("inactive", "dead"),
                    (true, false) => ("active", "running"),
                    (true, true) => ("failed", "failed"),
                };
                let machine = job.stopping_on.as_ref().unwrap_or(&stored.unit.machine_id);
                states.push(state(machine, &job.hash, active, sub));
            }
        }
        states
    }

    pub fn explain(&self, name: &str) -> Explanation {
        let stored = &self.units[name];
        let machine_id = stored.unit.machine_id.clone();
        let (summary, hints) = if machine_id.is_empty() {
            (
                format!("{name} has no machine: {}", stored.unit.scheduling_message),
                vec!["add a machine".to_owned()],
            )
        } else {
            (format!("{name} is on {machine_id}"), Vec::new())
        };
        let machines = self.verdicts(name);
        let blocked = machine_id.is_empty() && stored.unit.desired_state != "inactive";
        Explanation { blocked, hints, machine_id, machines, name: name.to_owned(), summary }
    }

    /// A step for each unit that is new or changed.
    pub fn plan(&self, units: &[Unit]) -> Plan {
        let step = |unit: &Unit| match self.units.get(&unit.name) {
            None => Step {
                action: "create".into(),
                name: unit.name.clone(),
                reason: "it is not known yet".into(),
                ..Step::default()
            },
            Some(stored) => Step {
                action: "replace".into(),
                from: stored.unit.machine_id.clone(),
                name: unit.name.clone(),
                reason: "its text differs".into(),
                to: stored.unit.machine_id.clone(),
            },
        };
        let changed = |unit: &&Unit| {
            self.units.get(&unit.name).is_none_or(|stored| stored.unit.file().hash() != unit.file().hash())
        };
        Plan { steps: units.iter().filter(changed).map(step).collect() }
    }

    pub fn set_cordon(&mut self, id: &str, cordon: Cordon) -> bool {
        let Some(machine) = self.machines.iter_mut().find(|machine| machine.id == id) else { return false };
        machine.cordon = cordon;
        if cordon == Cordon::Draining {
            let on_machine = |stored: &&Stored| stored.unit.machine_id == id;
            let names: Vec<String> =
                self.units.values().filter(on_machine).map(|stored| stored.unit.name.clone()).collect();
            for name in names {
                let new_target = self.schedule(&name);
                let stored = self.units.get_mut(&name).unwrap();
                match new_target {
                    Ok(machine) => stored.unit.machine_id = machine,
                    Err(why) => stored.unit.scheduling_message = why,
                }
            }
        }
        true
    }
}
