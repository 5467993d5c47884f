//! What clients ask to be changed. Each returns when this node has seen it itself: who asks next, sees it. A store that
//! does not answer is asked again for as long as a client waits: a disk that is slow for a moment fails nobody's request.

use std::sync::Arc;

use fleet_api::additions::Plan;
use fleet_core::registry::{Key, Write, of_new_unit};
use fleet_core::schedule::{Reason, Relocation};
use fleet_core::{Cordon, JobState, MachineId};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use unit_file::{UnitFile, UnitName};

use crate::known::Known;
use crate::limits::{ASKED_AGAIN, WORKED_AT};
use crate::metrics::Metrics;
use crate::store::{Only, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct Requests<S> {
    pub store: S,
    pub known: Arc<Known>,
    pub metrics: Arc<Metrics>,
}

impl<S: Store> Requests<S> {
    /// A new unit, or a new text of one.
    pub async fn create(
        &self,
        name: &UnitName,
        file: &UnitFile,
        desired: JobState,
    ) -> Result<(), StoreError> {
        let mut work = Work::begin();
        let mut index = 0;
        for write in of_new_unit(name, file, desired) {
            index = match write {
                Write::Create { key, value } => {
                    match work.ask(|| self.store.put(&key, &value, None, Only::Absent)).await {
                        // The same text, of another unit or of old, or written when nobody heard the answer.
                        Err(StoreError::Refused(_)) => index,
                        written => written?,
                    }
                }
                Write::Set { key, value } => {
                    work.ask(|| self.store.put(&key, &value, None, Only::Always)).await?
                }
                Write::Swap { .. } | Write::DeleteIf { .. } => index,
            };
        }
        self.seen(index, &work).await;
        // It may have been deleted at this very moment, being old and unused.
        if self.known.look(|view| view.hash(name).is_some() && view.file(name).is_none()) {
            let [text, ..] = of_new_unit(name, file, desired);
            if let Write::Create { key, value } = text {
                let index = work.ask(|| self.store.put(&key, &value, None, Only::Always)).await?;
                self.seen(index, &work).await;
            }
        }
        Ok(())
    }

    pub async fn set_desired(&self, name: &UnitName, desired: JobState) -> Result<(), StoreError> {
        self.put(&Key::TargetState(name.clone()), desired.as_str()).await
    }

    pub async fn destroy(&self, name: &UnitName) -> Result<(), StoreError> {
        let mut work = Work::begin();
        match work.ask(|| self.store.delete_job(name)).await {
            Ok(index) => self.seen(index, &work).await,
            // It is gone, and it may have been us, a second ago, when nobody heard the answer.
            Err(StoreError::Refused(_)) if work.unsure => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// An empty value takes the key away: it hides one that the machine's configuration has.
    pub async fn set_metadata(&self, machine: &MachineId, key: &str, value: &str) -> Result<(), StoreError> {
        self.put(&Key::MachineMetadata(machine.clone(), key.to_owned()), value).await
    }

    pub async fn set_cordon(&self, machine: &MachineId, cordon: Cordon) -> Result<(), StoreError> {
        let key = Key::MachineCordon(machine.clone());
        let Some(value) = cordon.encode() else {
            let mut work = Work::begin();
            return match work.ask(|| self.store.delete(&key, Only::Always)).await {
                Ok(index) => {
                    self.seen(index, &work).await;
                    Ok(())
                }
                // It was open.
                Err(StoreError::Refused(_)) => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.put(&key, value).await
    }

    /// Takes units off loaded machines; where they go then, the engine decides by the rules that gave the plan.
    pub async fn rebalance(&self) -> Result<Plan, StoreError> {
        // On a copy: with many machines it takes long, and heartbeats and the fence need the lock.
        let scheduler = self.known.look_and_ask(|_, scheduler| scheduler.clone());
        let computed = spawn_blocking(move || {
            let moves = scheduler.rebalance();
            (fleet_core::responses::relocations(&moves), moves)
        });
        let (plan, moves) = computed.await.map_err(|error| StoreError::Away(error.to_string()))?;
        let mut work = Work::begin();
        for Relocation { unit, from, to, overlap } in moves {
            let (key, only) = (Key::Target(unit.clone()), Only::Value(from.to_string()));
            let moved = match overlap {
                true => work.ask(|| self.store.put(&key, to.as_str(), None, only.clone())).await,
                false => work.ask(|| self.store.delete(&key, only.clone())).await,
            };
            match moved {
                Ok(_) => {
                    tracing::info!("Unscheduled Job({unit}) from Machine({from}): {}", Reason::Rebalance)
                }
                // It has moved, or gone, meanwhile; or it was us, when nobody heard the answer.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }

    async fn put(&self, key: &Key, value: &str) -> Result<(), StoreError> {
        let mut work = Work::begin();
        let index = work.ask(|| self.store.put(key, value, None, Only::Always)).await?;
        self.seen(index, &work).await;
        Ok(())
    }

    /// Where the watch is slow, the answer does not wait forever: what was written is written.
    async fn seen(&self, index: u64, work: &Work) {
        if timeout_at(work.until, self.known.reached(index)).await.is_err() {
            tracing::debug!("write {index} was not seen in time");
        }
    }
}

/// One client's request.
struct Work {
    until: Instant,
    /// What was asked without an answer may have been done.
    unsure: bool,
}

impl Work {
    fn begin() -> Self {
        Self { until: Instant::now() + WORKED_AT, unsure: false }
    }

    /// Asks the store, and again where it does not answer. What is asked twice must do no more than once.
    async fn ask<T, F>(&mut self, ask: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut outcome = ask().await;
        while let Err(StoreError::Away(why)) = &outcome {
            tracing::debug!("the store does not answer a client's request: {why}");
            self.unsure = true;
            if Instant::now() + ASKED_AGAIN >= self.until {
                break;
            }
            sleep(ASKED_AGAIN).await;
            match timeout_at(self.until, ask()).await {
                Ok(answer) => outcome = answer,
                Err(_) => break,
            }
        }
        outcome
    }
}
