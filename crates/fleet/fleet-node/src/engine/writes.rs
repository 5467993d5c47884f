//! Writes of the engine. Tasks of one unit run in sequence; a task is finished when this node has observed its write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleet_core::registry::{Key, Write, writes_for_task};
use fleet_core::schedule::{Reason, Task};
use tokio::task::JoinSet;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::engine::Engine;
use crate::limits::{MAX_CONCURRENT, OBSERVE_TIMEOUT};
use crate::registry_cache::RegistryCache;
use crate::store::{Precondition, Store, StoreError};

#[derive(Default)]
pub struct WriteQueue {
    queue: VecDeque<Task>,
    /// Units with a task in flight. The next task of a unit depends on it.
    busy: BTreeSet<UnitName>,
    /// Number of unfinished tasks by unit. Until they are finished, the view of the unit is older than the decision.
    pending: BTreeMap<UnitName, usize>,
    in_flight: JoinSet<(Task, Result<u64, StoreError>)>,
    unobserved: JoinSet<UnitName>,
}

pub enum Event {
    /// A task with the index of its write.
    Completed(Task, Result<u64, StoreError>),
    /// This node has observed a task of the unit.
    Observed(UnitName),
}

impl WriteQueue {
    pub fn add(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            *self.pending.entry(task.unit().clone()).or_default() += 1;
            self.queue.push_back(task);
        }
    }

    pub fn is_pending(&self, unit: &UnitName) -> bool {
        self.pending.contains_key(unit)
    }

    pub fn start<S: Store>(&mut self, engine: &Engine<S>) {
        while self.in_flight.len() < MAX_CONCURRENT
            && let Some(at) = self.queue.iter().position(|task| !self.busy.contains(task.unit()))
            && let Some(task) = self.queue.remove(at)
        {
            self.busy.insert(task.unit().clone());
            let (store, registry) = (engine.store.clone(), Arc::clone(&engine.registry));
            self.in_flight.spawn(async move {
                let outcome = match check_still_absent(&store, &registry, &task).await {
                    Ok(()) => execute(&store, &task).await,
                    Err(error) => Err(error),
                };
                (task, outcome)
            });
        }
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            let finished = tokio::select! {
                Some(finished) = self.in_flight.join_next() => {
                    finished.map(|(task, outcome)| Event::Completed(task, outcome))
                }
                Some(finished) = self.unobserved.join_next() => finished.map(Event::Observed),
                else => std::future::pending().await,
            };
            if let Ok(event) = finished {
                return event;
            }
        }
    }

    /// Records the result of a task. Without an index the later tasks of the unit are dropped. Returns whether the
    /// unit has no more tasks.
    pub fn completed<S: Store>(&mut self, engine: &Engine<S>, unit: &UnitName, index: Option<u64>) -> bool {
        self.busy.remove(unit);
        let Some(index) = index else {
            let before = self.queue.len();
            self.queue.retain(|later| later.unit() != unit);
            return self.finish(unit, before - self.queue.len() + 1);
        };
        let (registry, unit) = (Arc::clone(&engine.registry), unit.clone());
        self.unobserved.spawn(async move {
            // After the timeout the current view is used.
            drop(timeout(OBSERVE_TIMEOUT, registry.wait_for_index(index)).await);
            unit
        });
        false
    }

    /// Records that a task was observed. Returns whether the unit has no more tasks.
    pub fn observed(&mut self, unit: &UnitName) -> bool {
        self.finish(unit, 1)
    }

    fn finish(&mut self, unit: &UnitName, tasks: usize) -> bool {
        let remaining = self.pending.remove(unit).unwrap_or_default().saturating_sub(tasks);
        if remaining > 0 {
            self.pending.insert(unit.clone(), remaining);
        }
        remaining == 0
    }
}

/// Checks that a failed machine's presence is absent from the store itself. Events of a partitioned etcd member
/// arrive late: the machine may have registered again, and its units would run twice.
async fn check_still_absent<S: Store>(
    store: &S,
    registry: &RegistryCache,
    task: &Task,
) -> Result<(), StoreError> {
    let Task::Unschedule { reason: Reason::MachineFailed(machine), .. } = task else { return Ok(()) };
    let Some(stored) = store.get(&Key::MachineObject(machine.clone())).await? else { return Ok(()) };
    // The next pass uses the updated view.
    drop(timeout(OBSERVE_TIMEOUT, registry.wait_for_index(stored.index)).await);
    Err(StoreError::Rejected(format!("Machine({machine}) is present")))
}

/// Executes the writes of a task in order. Returns the index of the last.
async fn execute<S: Store>(store: &S, task: &Task) -> Result<u64, StoreError> {
    let mut index = 0;
    for write in writes_for_task(task) {
        index = match write {
            Write::Set { key, value } => store.put(&key, &value, None, Precondition::Always).await?,
            // An existing pin was written for the same reason.
            Write::Create { key: key @ Key::Pin(_), value } => {
                match store.put(&key, &value, None, Precondition::Absent).await {
                    Err(StoreError::Rejected(_)) => 0,
                    written => written?,
                }
            }
            Write::Create { key, value } => store.put(&key, &value, None, Precondition::Absent).await?,
            Write::Swap { key, from, to } => store.put(&key, &to, None, Precondition::Value(from)).await?,
            Write::DeleteIf { key, value } => store.delete(&key, Precondition::Value(value)).await?,
        };
    }
    Ok(index)
}
