//! What clients ask to be changed. Each returns when this node has seen it itself: who asks next, sees it.

use std::sync::Arc;

use cluster::registry::{Key, Write, of_new_unit};
use cluster::schedule::{Reason, Relocation};
use cluster::{Cordon, JobState, MachineId};
use fleet_api::additions::Plan;
use tokio::time::timeout;
use unit_file::{UnitFile, UnitName};

use crate::known::Known;
use crate::limits::SEEN;
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
        let mut index = 0;
        for write in of_new_unit(name, file, desired) {
            index = match write {
                Write::Create { key, value } => {
                    match self.store.put(&key, &value, None, Only::Absent).await {
                        // The same text, of another unit or of old.
                        Err(StoreError::Refused(_)) => index,
                        written => written?,
                    }
                }
                Write::Set { key, value } => self.store.put(&key, &value, None, Only::Always).await?,
                Write::Swap { .. } | Write::DeleteIf { .. } => index,
            };
        }
        self.seen(index).await;
        // It may have been deleted at this very moment, being old and unused.
        if self.known.look(|view| view.hash(name).is_some() && view.file(name).is_none()) {
            let [text, ..] = of_new_unit(name, file, desired);
            if let Write::Create { key, value } = text {
                let index = self.store.put(&key, &value, None, Only::Always).await?;
                self.seen(index).await;
            }
        }
        Ok(())
    }

    pub async fn set_desired(&self, name: &UnitName, desired: JobState) -> Result<(), StoreError> {
        self.put(&Key::TargetState(name.clone()), desired.as_str()).await
    }

    pub async fn destroy(&self, name: &UnitName) -> Result<(), StoreError> {
        let index = self.store.delete_job(name).await?;
        self.seen(index).await;
        Ok(())
    }

    /// An empty value takes the key away: it hides one that the machine's configuration has.
    pub async fn set_metadata(&self, machine: &MachineId, key: &str, value: &str) -> Result<(), StoreError> {
        self.put(&Key::MachineMetadata(machine.clone(), key.to_owned()), value).await
    }

    pub async fn set_cordon(&self, machine: &MachineId, cordon: Cordon) -> Result<(), StoreError> {
        let key = Key::MachineCordon(machine.clone());
        let Some(value) = cordon.encode() else {
            return match self.store.delete(&key, Only::Always).await {
                Ok(index) => {
                    self.seen(index).await;
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
        let (plan, moves) = self
            .known
            .look_and_ask(|_, scheduler| (fleet_answers::rebalance(scheduler), scheduler.rebalance()));
        for Relocation { unit, from, to, overlap } in moves {
            let (key, only) = (Key::Target(unit.clone()), Only::Value(from.to_string()));
            let moved = match overlap {
                true => self.store.put(&key, to.as_str(), None, only).await,
                false => self.store.delete(&key, only).await,
            };
            match moved {
                Ok(_) => {
                    tracing::info!("Unscheduled Job({unit}) from Machine({from}): {}", Reason::Rebalance)
                }
                // It has moved, or gone, meanwhile.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }

    async fn put(&self, key: &Key, value: &str) -> Result<(), StoreError> {
        let index = self.store.put(key, value, None, Only::Always).await?;
        self.seen(index).await;
        Ok(())
    }

    /// Where the watch is slow, the answer does not wait for ever: what was written is written.
    async fn seen(&self, index: u64) {
        if timeout(SEEN, self.known.reached(index)).await.is_err() {
            tracing::debug!("write {index} was not seen within {SEEN:?}");
        }
    }
}
