//! What the engine has asked of the store: the tasks of one unit one after the other, each over when this node sees
//! what it did.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fleet_core::registry::{Key, Write, of_task};
use fleet_core::schedule::{Reason, Task};
use tokio::task::JoinSet;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::engine::Engine;
use crate::known::Known;
use crate::limits::{AT_A_TIME, SEEN};
use crate::store::{Only, Store, StoreError};

#[derive(Default)]
pub struct Writes {
    queue: VecDeque<Task>,
    /// Units of tasks on their way: a unit's next task counts on what the one before does.
    busy: BTreeSet<UnitName>,
    /// How many tasks of a unit are not over. Until then what is known of the unit is older than what was decided.
    open: BTreeMap<UnitName, usize>,
    on_their_way: JoinSet<(Task, Result<u64, StoreError>)>,
    unseen: JoinSet<UnitName>,
}

pub enum Event {
    /// With the index of what was done.
    Answered(Task, Result<u64, StoreError>),
    /// A task of the unit was done, and this node knows it.
    Seen(UnitName),
}

impl Writes {
    pub fn add(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            *self.open.entry(task.unit().clone()).or_default() += 1;
            self.queue.push_back(task);
        }
    }

    pub fn is_open(&self, unit: &UnitName) -> bool {
        self.open.contains_key(unit)
    }

    pub fn begin<S: Store>(&mut self, engine: &Engine<S>) {
        while self.on_their_way.len() < AT_A_TIME
            && let Some(at) = self.queue.iter().position(|task| !self.busy.contains(task.unit()))
            && let Some(task) = self.queue.remove(at)
        {
            self.busy.insert(task.unit().clone());
            let (store, known) = (engine.store.clone(), Arc::clone(&engine.known));
            self.on_their_way.spawn(async move {
                let outcome = match check(&store, &known, &task).await {
                    Ok(()) => carry_out(&store, &task).await,
                    Err(error) => Err(error),
                };
                (task, outcome)
            });
        }
    }

    /// May be dropped while it waits.
    pub async fn next(&mut self) -> Event {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.on_their_way.join_next() => {
                    ended.map(|(task, outcome)| Event::Answered(task, outcome))
                }
                Some(ended) = self.unseen.join_next() => ended.map(Event::Seen),
                else => std::future::pending().await,
            };
            if let Ok(event) = ended {
                return event;
            }
        }
    }

    /// A task was answered, with the index of what was done. Whether its unit has none any more: without an index
    /// what was decided behind it is not done either.
    pub fn answered<S: Store>(&mut self, engine: &Engine<S>, unit: &UnitName, index: Option<u64>) -> bool {
        self.busy.remove(unit);
        let Some(index) = index else {
            let before = self.queue.len();
            self.queue.retain(|later| later.unit() != unit);
            return self.over(unit, before - self.queue.len() + 1);
        };
        let (known, unit) = (Arc::clone(&engine.known), unit.clone());
        self.unseen.spawn(async move {
            // Should it take longer, what is known is good enough.
            drop(timeout(SEEN, known.reached(index)).await);
            unit
        });
        false
    }

    /// What a task did is known. Whether its unit has none any more.
    pub fn seen(&mut self, unit: &UnitName) -> bool {
        self.over(unit, 1)
    }

    fn over(&mut self, unit: &UnitName, tasks: usize) -> bool {
        let left = self.open.remove(unit).unwrap_or_default().saturating_sub(tasks);
        if left > 0 {
            self.open.insert(unit.clone(), left);
        }
        left == 0
    }
}

/// Units leave a machine that went away only where its key is not in the store at this moment. The events of a member that was
/// cut off arrive late: the machine may have registered again, and other machines would start what it runs.
async fn check<S: Store>(store: &S, known: &Known, task: &Task) -> Result<(), StoreError> {
    let Task::Unschedule { reason: Reason::WentAway(machine), .. } = task else { return Ok(()) };
    let Some(stored) = store.get(&Key::MachineObject(machine.clone())).await? else { return Ok(()) };
    // The next decision is made with what is known then.
    drop(timeout(SEEN, known.reached(stored.index)).await);
    Err(StoreError::Refused(format!("Machine({machine}) is present")))
}

/// The steps of one task, one after the other; the index of the last.
async fn carry_out<S: Store>(store: &S, task: &Task) -> Result<u64, StoreError> {
    let mut index = 0;
    for write in of_task(task) {
        index = match write {
            Write::Set { key, value } => store.put(&key, &value, None, Only::Always).await?,
            // A pin that is there already was written for the same reason.
            Write::Create { key: key @ Key::Pin(_), value } => {
                match store.put(&key, &value, None, Only::Absent).await {
                    Err(StoreError::Refused(_)) => 0,
                    written => written?,
                }
            }
            Write::Create { key, value } => store.put(&key, &value, None, Only::Absent).await?,
            Write::Swap { key, from, to } => store.put(&key, &to, None, Only::Value(from)).await?,
            Write::DeleteIf { key, value } => store.delete(&key, Only::Value(value)).await?,
        };
    }
    Ok(index)
}
