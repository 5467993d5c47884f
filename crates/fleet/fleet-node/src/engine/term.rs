//! One node's time as the leader: from the lease's write until it is lost or given back.

use std::time::Duration;

use fleet_core::registry::{Key, Lease};
use fleet_core::schedule::Task;
use tokio::time::{Instant, sleep_until, timeout};
use unit_file::UnitName;

use crate::engine::brain::Brain;
use crate::engine::garbage::Collector;
use crate::engine::writes::{Event, Writes};
use crate::engine::{Engine, Won};
use crate::limits::TOGETHER;
use crate::store::{Only, Store, StoreError};

/// Between a write that was not done and the next pass.
const RETRY: Duration = Duration::from_millis(200);

impl<S: Store> Engine<S> {
    /// Until the lease is lost, or given back because this node had no store: it has told others so, or its own presence
    /// has ended.
    pub(super) async fn lead(&self, won: Won, garbage: &Collector) {
        let (mut index, mut valid_until) = (won.index, won.sent + self.settings.lease_ttl());
        let told = self.contact.told_without();
        let has_store = || self.contact.told_without() == told && self.is_registered();
        let mut news = self.known.follow();
        // What was written before the lease was won is to be known.
        if timeout(self.settings.lease_ttl(), self.known.reached(index)).await.is_err() {
            return;
        }
        let now = self.settings.clock.now();
        let mut brain = Brain::new(self, now);
        let mut writes = Writes::default();
        let mut renew_at = Instant::now() + self.settings.engine_interval;
        let mut due = Instant::now();
        loop {
            if !has_store() {
                tracing::info!("giving the engine's lease back: the store was away");
                return self.release().await;
            }
            writes.begin(self);
            tokio::select! {
                () = sleep_until(renew_at) => {
                    let sent = self.settings.clock.now();
                    match self.renew(index).await {
                        Ok(renewed) => {
                            (index, valid_until) = (renewed, sent + self.settings.lease_ttl());
                            self.set_held(Some(index));
                            renew_at = Instant::now() + self.settings.engine_interval;
                            due = due.min(Instant::now());
                            garbage.step(self).await;
                        }
                        Err(StoreError::Away(_)) if self.settings.clock.now() < valid_until => {
                            renew_at = Instant::now() + self.settings.engine_interval / 4;
                        }
                        Err(_) => return,
                    }
                }
                what = news.next() => {
                    brain.take(self, &what, |unit| writes.is_open(unit));
                    due = due.min(Instant::now() + TOGETHER);
                }
                event = writes.next() => if let Some((unit, wait)) = self.take(&mut writes, event) {
                    brain.look_again(self, &unit);
                    due = due.min(Instant::now() + wait);
                },
                () = sleep_until(due) => {
                    let now = self.settings.clock.now();
                    if now >= valid_until {
                        return;
                    }
                    // What ended meanwhile is seen before anything is decided.
                    if !has_store() {
                        continue;
                    }
                    let begun = Instant::now();
                    let (tasks, next) = brain.pass(self, now);
                    self.metrics.pass(begun.elapsed());
                    writes.add(tasks);
                    for (unit, rollout) in brain.rollouts(self, now) {
                        self.permit(&unit, &rollout).await;
                    }
                    due = Instant::now() + next.map_or(self.settings.engine_interval * 5, |next| next.saturating_sub(now));
                }
            }
        }
    }

    async fn renew(&self, index: u64) -> Result<u64, StoreError> {
        let value = Lease::ours(self.settings.me.clone()).encode();
        let ttl = Some(self.settings.lease_ttl());
        // Unheard, it would be done all the same, and the index that is known no longer the lease's.
        self.patient_store.put(&Key::EngineLeader, &value, ttl, Only::Index(index)).await
    }

    async fn permit(&self, unit: &UnitName, rollout: &fleet_core::registry::Rollout) {
        let key = Key::Rollout(unit.clone());
        if let Err(error) = self.store.put(&key, &rollout.encode(), None, Only::Always).await {
            tracing::warn!("the rollout of Unit({unit}): {error}");
        }
    }

    /// The unit of which no task is open any more, and how long the next pass can wait.
    fn take(&self, writes: &mut Writes, event: Event) -> Option<(UnitName, Duration)> {
        let (unit, over, wait) = match event {
            Event::Answered(task, outcome) => {
                let index = self.ended(&task, outcome);
                (task.unit().clone(), writes.answered(self, task.unit(), index), RETRY)
            }
            Event::Seen(unit) => (unit.clone(), writes.seen(&unit), TOGETHER),
        };
        over.then_some((unit, wait))
    }

    /// The index of what was done.
    fn ended(&self, task: &Task, outcome: Result<u64, StoreError>) -> Option<u64> {
        self.metrics.engine_task(task, outcome.is_ok());
        match outcome {
            Ok(index) => {
                match task {
                    Task::Schedule { unit, machine, .. } => {
                        tracing::info!("Scheduled Unit({unit}) to Machine({machine})");
                    }
                    Task::Unschedule { unit, machine, reason } => {
                        tracing::info!("Unscheduled Job({unit}) from Machine({machine}): {reason}");
                    }
                    Task::Move { unit, from, to, reason } => {
                        tracing::info!("Moved Unit({unit}) from Machine({from}) to Machine({to}): {reason}");
                    }
                }
                Some(index)
            }
            Err(error) => {
                tracing::warn!("{task}: {error}");
                None
            }
        }
    }
}
