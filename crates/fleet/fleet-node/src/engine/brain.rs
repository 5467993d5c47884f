//! What the leader keeps in mind: the scheduler, who went when, and how far new texts have come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_core::departures::Departures;
use fleet_core::registry::{Rollout, Subject, View};
use fleet_core::schedule::{Scheduler, Task};
use fleet_core::{Machine, MachineId};
use unit_file::UnitName;

use crate::engine::Engine;
use crate::engine::rollouts::Rollouts;
use crate::known::News;
use crate::store::Store;

pub struct Brain {
    scheduler: Scheduler,
    departures: Departures,
    /// As they were when they were last present.
    machines: BTreeMap<MachineId, Machine>,
    /// Not present, and not yet taken for dead.
    away: BTreeMap<MachineId, Machine>,
    rollouts: Rollouts,
    accident_told: bool,
    /// The store was away until a TTL before this.
    grace_until: Duration,
}

impl Brain {
    pub fn new<S: Store>(engine: &Engine<S>, now: Duration) -> Self {
        let away = engine.store_was_away(now);
        let departures = Departures::leading_since(now, engine.settings.ttl, away, engine.assigned());
        let mut brain = Self {
            scheduler: Scheduler::new(),
            departures,
            machines: BTreeMap::new(),
            away: BTreeMap::new(),
            rollouts: Rollouts::default(),
            accident_told: false,
            grace_until: if away { now + engine.settings.ttl } else { now },
        };
        brain.take(engine, &News::Everything, |_| false);
        brain
    }

    /// Of units of which `open` says that tasks are not over, later: [`Self::look_again`].
    pub fn take<S: Store>(&mut self, engine: &Engine<S>, news: &News, open: impl Fn(&UnitName) -> bool) {
        engine.known.look(|view| match news {
            News::Everything => {
                self.scheduler = Scheduler::new();
                for subject in view.subjects() {
                    self.feed(view, &subject);
                }
                for id in self.away.keys().cloned().collect::<Vec<_>>() {
                    self.feed(view, &Subject::Machine(id));
                }
            }
            News::Changed { subjects, .. } => {
                let held_back = |subject: &Subject| matches!(subject, Subject::Unit(name) if open(name));
                for subject in subjects.iter().filter(|subject| !held_back(subject)) {
                    self.feed(view, subject);
                }
            }
        });
    }

    fn feed(&mut self, view: &View, subject: &Subject) {
        if let Subject::Machine(id) = subject {
            match view.machine(id) {
                Some(machine) => {
                    self.away.remove(id);
                    self.machines.insert(id.clone(), machine);
                }
                // Its presence has ended: whether it is dead, the next pass says.
                None if !self.away.contains_key(id) => {
                    if let Some(machine) = self.machines.remove(id) {
                        self.away.insert(id.clone(), Machine { away: true, ..machine });
                    }
                }
                None => {}
            }
        }
        view.feed(subject, &self.away, &mut self.scheduler);
    }

    /// No task of the unit is open: what is known of it counts again.
    pub fn look_again<S: Store>(&mut self, engine: &Engine<S>, unit: &UnitName) {
        engine.known.look(|view| self.feed(view, &Subject::Unit(unit.clone())));
    }

    /// What is to be done now, and when to look again although nothing happened.
    pub fn pass<S: Store>(&mut self, engine: &Engine<S>, now: Duration) -> (Vec<Task>, Option<Duration>) {
        let next = engine.known.look(|view| self.see_who_left(view, now));
        // What such a machine holds is not known: what it said may have ended while the store was away.
        if now < self.grace_until && !self.away.is_empty() {
            return (Vec::new(), next);
        }
        (self.scheduler.pass(), [next, self.rollouts.next()].into_iter().flatten().min())
    }

    fn see_who_left(&mut self, view: &View, now: Duration) -> Option<Duration> {
        let present: BTreeSet<MachineId> = view.machines().map(|machine| machine.id).collect();
        let step = self.departures.step(now, &present);
        if step.accident && !self.accident_told {
            tracing::error!(
                "more than a third of the machines went at once: the units of one of them move each TTL"
            );
        }
        self.accident_told = step.accident;
        for id in &step.away {
            // One that this leader never saw: nothing of it is known but that units are assigned to it.
            if !self.away.contains_key(id) {
                let machine = Machine { away: true, ..Machine::new(id.as_str()) };
                self.away.insert(id.clone(), machine);
                view.feed(&Subject::Machine(id.clone()), &self.away, &mut self.scheduler);
            }
        }
        let gone: Vec<MachineId> = self.away.keys().filter(|id| !step.away.contains(*id)).cloned().collect();
        for id in gone {
            self.away.remove(&id);
            view.feed(&Subject::Machine(id), &self.away, &mut self.scheduler);
        }
        step.next
    }

    /// Which machines may take new texts of global units now.
    pub fn rollouts<S: Store>(&mut self, engine: &Engine<S>, now: Duration) -> Vec<(UnitName, Rollout)> {
        engine.known.look(|view| self.rollouts.step(view, now))
    }
}
