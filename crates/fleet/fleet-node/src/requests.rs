//! What clients ask to be changed. Each returns when this node has seen it itself: who asks next, sees it. A store that
//! does not answer is asked again for as long as a client waits: a disk that is slow for a moment fails nobody's request.

use std::sync::Arc;

use fleet_api::additions::Plan;
use fleet_core::registry::{Key, Write, writes_for_new_unit};
use fleet_core::schedule::{Reason, Relocation};
use fleet_core::{Cordon, JobState, MachineId};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use unit_file::{UnitFile, UnitName};

use crate::limits::{REQUEST_RETRY_INTERVAL, REQUEST_TIMEOUT};
use crate::metrics::Metrics;
use crate::registry_cache::RegistryCache;
use crate::store::{Precondition, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct Requests<S> {
    pub store: S,
    pub registry: Arc<RegistryCache>,
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
        let mut call = Call::new();
        let mut index = 0;
        for write in writes_for_new_unit(name, file, desired) {
            index = match write {
                Write::Create { key, value } => {
                    match call.run(|| self.store.put(&key, &value, None, Precondition::Absent)).await {
                        // The same text, of another unit or of old, or written when nobody heard the answer.
                        Err(StoreError::Rejected(_)) => index,
                        written => written?,
                    }
                }
                Write::Set { key, value } => {
                    call.run(|| self.store.put(&key, &value, None, Precondition::Always)).await?
                }
                Write::Swap { .. } | Write::DeleteIf { .. } => index,
            };
        }
        self.wait_until_observed(index, &call).await;
        // It may have been deleted at this very moment, being old and unused.
        if self.registry.with_view(|view| view.hash(name).is_some() && view.file(name).is_none()) {
            let [text, ..] = writes_for_new_unit(name, file, desired);
            if let Write::Create { key, value } = text {
                let index = call.run(|| self.store.put(&key, &value, None, Precondition::Always)).await?;
                self.wait_until_observed(index, &call).await;
            }
        }
        Ok(())
    }

    pub async fn set_desired(&self, name: &UnitName, desired: JobState) -> Result<(), StoreError> {
        self.put(&Key::TargetState(name.clone()), desired.as_str()).await
    }

    pub async fn destroy(&self, name: &UnitName) -> Result<(), StoreError> {
        let mut call = Call::new();
        match call.run(|| self.store.delete_job(name)).await {
            Ok(index) => self.wait_until_observed(index, &call).await,
            // It is gone, and it may have been us, a second ago, when nobody heard the answer.
            Err(StoreError::Rejected(_)) if call.may_have_executed => {}
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
            let mut call = Call::new();
            return match call.run(|| self.store.delete(&key, Precondition::Always)).await {
                Ok(index) => {
                    self.wait_until_observed(index, &call).await;
                    Ok(())
                }
                // It was open.
                Err(StoreError::Rejected(_)) => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.put(&key, value).await
    }

    /// Takes units off loaded machines; where they go then, the engine decides by the rules that gave the plan.
    pub async fn rebalance(&self) -> Result<Plan, StoreError> {
        // On a copy: with many machines it takes long, and heartbeats and the fence need the lock.
        let scheduler = self.registry.with_scheduler(|_, scheduler| scheduler.clone());
        let computed = spawn_blocking(move || {
            let moves = scheduler.rebalance();
            (fleet_core::responses::relocations(&moves), moves)
        });
        let (plan, moves) = computed.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut call = Call::new();
        for Relocation { unit, from, to, overlap } in moves {
            let (key, precondition) = (Key::Target(unit.clone()), Precondition::Value(from.to_string()));
            let moved = match overlap {
                true => call.run(|| self.store.put(&key, to.as_str(), None, precondition.clone())).await,
                false => call.run(|| self.store.delete(&key, precondition.clone())).await,
            };
            match moved {
                Ok(_) => {
                    tracing::info!("Unscheduled Job({unit}) from Machine({from}): {}", Reason::Rebalance)
                }
                // It has moved, or gone, meanwhile; or it was us, when nobody heard the answer.
                Err(StoreError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }

    async fn put(&self, key: &Key, value: &str) -> Result<(), StoreError> {
        let mut call = Call::new();
        let index = call.run(|| self.store.put(key, value, None, Precondition::Always)).await?;
        self.wait_until_observed(index, &call).await;
        Ok(())
    }

    /// Where the watch is slow, the answer does not wait forever: what was written is written.
    async fn wait_until_observed(&self, index: u64, call: &Call) {
        if timeout_at(call.deadline, self.registry.wait_for_index(index)).await.is_err() {
            tracing::debug!("write {index} was not seen in time");
        }
    }
}

/// One client's request.
struct Call {
    deadline: Instant,
    /// What was asked without an answer may have been done.
    may_have_executed: bool,
}

impl Call {
    fn new() -> Self {
        Self { deadline: Instant::now() + REQUEST_TIMEOUT, may_have_executed: false }
    }

    /// Asks the store, and again where it does not answer. What is asked twice must do no more than once.
    async fn run<T, F>(&mut self, request: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut outcome = request().await;
        while let Err(StoreError::Unavailable(why)) = &outcome {
            tracing::debug!("the store does not answer a client's request: {why}");
            self.may_have_executed = true;
            if Instant::now() + REQUEST_RETRY_INTERVAL >= self.deadline {
                break;
            }
            sleep(REQUEST_RETRY_INTERVAL).await;
            match timeout_at(self.deadline, request()).await {
                Ok(outcome_of_retry) => outcome = outcome_of_retry,
                Err(_) => break,
            }
        }
        outcome
    }
}
