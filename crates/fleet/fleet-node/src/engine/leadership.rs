//! One term of leadership, from the acquired lease until it is lost or released.

use std::time::Duration;

use fleet_core::registry::{Key, Lease};
use fleet_core::schedule::Task;
use tokio::time::{Instant, sleep_until, timeout};
use unit_file::UnitName;

use crate::engine::garbage::Collector;
use crate::engine::leader_state::LeaderState;
use crate::engine::writes::{Event, WriteQueue};
use crate::engine::{AcquiredLease, Engine};
use crate::limits::BATCH_WINDOW;
use crate::store::{Precondition, Store, StoreError};

/// Delay of the next pass after a failed write.
const RETRY: Duration = Duration::from_millis(200);

impl<S: Store> Engine<S> {
    /// Leads until the lease is lost. Releases it if this node loses the store: it has reported so to a peer, or its
    /// presence has expired.
    pub(super) async fn lead(&self, lease: AcquiredLease, garbage: &Collector) {
        let (mut index, mut valid_until) = (lease.index, lease.sent_at + self.settings.lease_ttl());
        let reported = self.store_link.reported_no_store();
        let has_store = || self.store_link.reported_no_store() == reported && self.is_registered();
        let mut events = self.registry.subscribe();
        // Writes of earlier leaders must be in the view.
        if timeout(self.settings.lease_ttl(), self.registry.wait_for_index(index)).await.is_err() {
            return;
        }
        let now = self.settings.clock.now();
        let mut leader_state = LeaderState::new(self, now);
        let mut writes = WriteQueue::default();
        let mut renew_at = Instant::now() + self.settings.engine_interval;
        let mut pass_at = Instant::now();
        loop {
            if !has_store() {
                tracing::info!("giving the engine's lease back: the store was away");
                return self.release().await;
            }
            writes.start(self);
            tokio::select! {
                () = sleep_until(renew_at) => {
                    let sent_at = self.settings.clock.now();
                    match self.renew(index).await {
                        Ok(renewed) => {
                            (index, valid_until) = (renewed, sent_at + self.settings.lease_ttl());
                            self.set_lease_index(Some(index));
                            renew_at = Instant::now() + self.settings.engine_interval;
                            pass_at = pass_at.min(Instant::now());
                            garbage.step(self).await;
                        }
                        Err(StoreError::Unavailable(_)) if self.settings.clock.now() < valid_until => {
                            renew_at = Instant::now() + self.settings.engine_interval / 4;
                        }
                        Err(_) => return,
                    }
                }
                event = events.next() => {
                    leader_state.apply(self, &event, |unit| writes.is_pending(unit));
                    pass_at = pass_at.min(Instant::now() + BATCH_WINDOW);
                }
                event = writes.next() => if let Some((unit, wait)) = self.handle(&mut writes, event) {
                    leader_state.refresh_unit(self, &unit);
                    pass_at = pass_at.min(Instant::now() + wait);
                },
                () = sleep_until(pass_at) => {
                    let now = self.settings.clock.now();
                    if now >= valid_until {
                        return;
                    }
                    // The presence may have expired since the last check.
                    if !has_store() {
                        continue;
                    }
                    let begun = Instant::now();
                    let (tasks, next) = leader_state.pass(self, now);
                    self.metrics.pass(begun.elapsed());
                    writes.add(tasks);
                    for (unit, rollout) in leader_state.rollouts(self, now) {
                        self.permit(&unit, &rollout).await;
                    }
                    pass_at = Instant::now() + next.map_or(self.settings.engine_interval * 5, |next| next.saturating_sub(now));
                }
            }
        }
    }

    async fn renew(&self, index: u64) -> Result<u64, StoreError> {
        let value = Lease::ours(self.settings.machine_id.clone()).encode();
        let ttl = Some(self.settings.lease_ttl());
        // An abandoned request may still be executed and would change the lease's index.
        self.lease_store.put(&Key::EngineLeader, &value, ttl, Precondition::Index(index)).await
    }

    async fn permit(&self, unit: &UnitName, rollout: &fleet_core::registry::Rollout) {
        let key = Key::Rollout(unit.clone());
        if let Err(error) = self.store.put(&key, &rollout.encode(), None, Precondition::Always).await {
            tracing::warn!("the rollout of Unit({unit}): {error}");
        }
    }

    /// Returns a unit whose last task is finished, and how long the next pass may wait.
    fn handle(&self, writes: &mut WriteQueue, event: Event) -> Option<(UnitName, Duration)> {
        let (unit, idle, wait) = match event {
            Event::Completed(task, outcome) => {
                let index = self.finish_task(&task, outcome);
                (task.unit().clone(), writes.completed(self, task.unit(), index), RETRY)
            }
            Event::Observed(unit) => (unit.clone(), writes.observed(&unit), BATCH_WINDOW),
        };
        idle.then_some((unit, wait))
    }

    /// Returns the index of the write.
    fn finish_task(&self, task: &Task, outcome: Result<u64, StoreError>) -> Option<u64> {
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
