//! State of the leader: scheduler, failure detection and rollouts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_core::failure_detector::FailureDetector;
use fleet_core::registry::{Rollout, Subject, View};
use fleet_core::schedule::{Scheduler, Task};
use fleet_core::{Machine, MachineId};
use unit_file::UnitName;

use crate::engine::Engine;
use crate::engine::rollouts::Rollouts;
use crate::registry_cache::RegistryEvent;
use crate::store::Store;

pub struct LeaderState {
    scheduler: Scheduler,
    failure_detector: FailureDetector,
    /// Machines with the properties they had when last present.
    machines: BTreeMap<MachineId, Machine>,
    /// Machines that are not present and not considered failed yet.
    unreachable: BTreeMap<MachineId, Machine>,
    rollouts: Rollouts,
    mass_failure_logged: bool,
    /// End of the grace period after the store was unreachable.
    grace_until: Duration,
}

impl LeaderState {
    pub fn new<S: Store>(engine: &Engine<S>, now: Duration) -> Self {
        let store_was_unreachable = engine.store_was_unreachable(now);
        let failure_detector =
            FailureDetector::new(now, engine.settings.ttl, store_was_unreachable, engine.assigned());
        let mut leader_state = Self {
            scheduler: Scheduler::new(),
            failure_detector,
            machines: BTreeMap::new(),
            unreachable: BTreeMap::new(),
            rollouts: Rollouts::default(),
            mass_failure_logged: false,
            grace_until: if store_was_unreachable { now + engine.settings.ttl } else { now },
        };
        leader_state.apply(engine, &RegistryEvent::Resync, |_| false);
        leader_state
    }

    /// Applies an event, except to units with pending tasks: see [`Self::refresh_unit`].
    pub fn apply<S: Store>(
        &mut self,
        engine: &Engine<S>,
        event: &RegistryEvent,
        is_pending: impl Fn(&UnitName) -> bool,
    ) {
        engine.registry.with_view(|view| match event {
            RegistryEvent::Resync => {
                self.scheduler = Scheduler::new();
                for subject in view.subjects() {
                    self.update(view, &subject);
                }
                for id in self.unreachable.keys().cloned().collect::<Vec<_>>() {
                    self.update(view, &Subject::Machine(id));
                }
            }
            RegistryEvent::Changed { subjects, .. } => {
                let is_pending =
                    |subject: &Subject| matches!(subject, Subject::Unit(name) if is_pending(name));
                for subject in subjects.iter().filter(|subject| !is_pending(subject)) {
                    self.update(view, subject);
                }
            }
        });
    }

    fn update(&mut self, view: &View, subject: &Subject) {
        if let Subject::Machine(id) = subject {
            match view.machine(id) {
                Some(machine) => {
                    self.unreachable.remove(id);
                    self.machines.insert(id.clone(), machine);
                }
                // The next pass decides whether the machine has failed.
                None if !self.unreachable.contains_key(id) => {
                    if let Some(machine) = self.machines.remove(id) {
                        self.unreachable.insert(id.clone(), Machine { unreachable: true, ..machine });
                    }
                }
                None => {}
            }
        }
        view.update_scheduler(subject, &self.unreachable, &mut self.scheduler);
    }

    /// Applies the registry's state of a unit whose tasks are finished.
    pub fn refresh_unit<S: Store>(&mut self, engine: &Engine<S>, unit: &UnitName) {
        engine.registry.with_view(|view| self.update(view, &Subject::Unit(unit.clone())));
    }

    /// The tasks to execute, and when to run the next pass without an event.
    pub fn pass<S: Store>(&mut self, engine: &Engine<S>, now: Duration) -> (Vec<Task>, Option<Duration>) {
        let next = engine.registry.with_view(|view| self.update_failures(view, now));
        // It is unknown what these machines run: their keys may have expired while the store was unreachable.
        if now < self.grace_until && !self.unreachable.is_empty() {
            return (Vec::new(), next);
        }
        (self.scheduler.pass(), [next, self.rollouts.next()].into_iter().flatten().min())
    }

    fn update_failures(&mut self, view: &View, now: Duration) -> Option<Duration> {
        let present: BTreeSet<MachineId> = view.machines().map(|machine| machine.id).collect();
        let step = self.failure_detector.step(now, &present);
        if step.mass_failure && !self.mass_failure_logged {
            tracing::error!(
                "more than a third of the machines went at once: the units of one of them move each TTL"
            );
        }
        self.mass_failure_logged = step.mass_failure;
        for id in &step.unreachable {
            // A machine that this leader has never observed. Only its assigned units are known.
            if !self.unreachable.contains_key(id) {
                let machine = Machine { unreachable: true, ..Machine::new(id.as_str()) };
                self.unreachable.insert(id.clone(), machine);
                view.update_scheduler(&Subject::Machine(id.clone()), &self.unreachable, &mut self.scheduler);
            }
        }
        let gone: Vec<MachineId> =
            self.unreachable.keys().filter(|id| !step.unreachable.contains(*id)).cloned().collect();
        for id in gone {
            self.unreachable.remove(&id);
            view.update_scheduler(&Subject::Machine(id), &self.unreachable, &mut self.scheduler);
        }
        step.next
    }

    /// Permits for machines to run new versions of global units.
    pub fn rollouts<S: Store>(&mut self, engine: &Engine<S>, now: Duration) -> Vec<(UnitName, Rollout)> {
        engine.registry.with_view(|view| self.rollouts.step(view, now))
    }
}
