//! Client requests. Each returns when this node has observed the write, so that a following read includes it.
//! Unavailability of the store is retried within the timeout.

use std::sync::Arc;
use std::time::Duration;

use fleet_api::additions::Plan;
use fleet_core::registry::{Key, Write, writes_for_new_unit};
use fleet_core::schedule::{Reason, Relocation};
use fleet_core::{Cordon, JobState, MachineId};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use unit_file::{UnitFile, UnitName};

use crate::limits::REQUEST_RETRY_INTERVAL;
use crate::metrics::Metrics;
use crate::registry_cache::RegistryCache;
use crate::store::{Precondition, Store, StoreError};

/// Cheap to clone.
#[derive(Clone)]
pub struct Requests<S> {
    pub store: S,
    pub registry: Arc<RegistryCache>,
    pub metrics: Arc<Metrics>,
    /// Until a request fails, including the wait until this node has observed the write.
    pub timeout: Duration,
}

impl<S: Store> Requests<S> {
    /// Creates a unit, or replaces its unit file.
    pub async fn create(
        &self,
        name: &UnitName,
        file: &UnitFile,
        desired: JobState,
    ) -> Result<(), StoreError> {
        let mut call = Call::new(self.timeout);
        let mut index = 0;
        for write in writes_for_new_unit(name, file, desired) {
            index = match write {
                Write::Create { key, value } => {
                    match call.run(|| self.store.put(&key, &value, None, Precondition::Absent)).await {
                        // The unit file exists already, possibly from an earlier attempt.
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
        // The garbage collector may have deleted the unit file concurrently.
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
        let mut call = Call::new(self.timeout);
        match call.run(|| self.store.delete_job(name)).await {
            Ok(index) => self.wait_until_observed(index, &call).await,
            // An earlier attempt may have deleted it.
            Err(StoreError::Rejected(_)) if call.may_have_executed => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// An empty value removes the key, and hides one from the machine's configuration.
    pub async fn set_metadata(&self, machine: &MachineId, key: &str, value: &str) -> Result<(), StoreError> {
        self.put(&Key::MachineMetadata(machine.clone(), key.to_owned()), value).await
    }

    pub async fn set_cordon(&self, machine: &MachineId, cordon: Cordon) -> Result<(), StoreError> {
        let key = Key::MachineCordon(machine.clone());
        let Some(value) = cordon.encode() else {
            let mut call = Call::new(self.timeout);
            return match call.run(|| self.store.delete(&key, Precondition::Always)).await {
                Ok(index) => {
                    self.wait_until_observed(index, &call).await;
                    Ok(())
                }
                // The machine was not cordoned.
                Err(StoreError::Rejected(_)) => Ok(()),
                Err(error) => Err(error),
            };
        };
        self.put(&key, value).await
    }

    /// Moves units off loaded machines. The engine then schedules them by the rules that created the plan.
    pub async fn rebalance(&self) -> Result<Plan, StoreError> {
        // On a copy: this takes long with many machines, and heartbeats and fence need the lock.
        let scheduler = self.registry.with_scheduler(|_, scheduler| scheduler.clone());
        let computed = spawn_blocking(move || {
            let moves = scheduler.rebalance();
            (fleet_core::responses::relocations(&moves), moves)
        });
        let (plan, moves) = computed.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut call = Call::new(self.timeout);
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
                // The unit was moved or destroyed meanwhile, or an earlier attempt succeeded.
                Err(StoreError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(plan)
    }

    async fn put(&self, key: &Key, value: &str) -> Result<(), StoreError> {
        let mut call = Call::new(self.timeout);
        let index = call.run(|| self.store.put(key, value, None, Precondition::Always)).await?;
        self.wait_until_observed(index, &call).await;
        Ok(())
    }

    /// Gives up at the deadline: the write itself has succeeded.
    async fn wait_until_observed(&self, index: u64, call: &Call) {
        if timeout_at(call.deadline, self.registry.wait_for_index(index)).await.is_err() {
            tracing::debug!("write {index} was not seen in time");
        }
    }
}

/// One client request with its deadline.
struct Call {
    deadline: Instant,
    /// A request without a response may have been executed.
    may_have_executed: bool,
}

impl Call {
    fn new(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, may_have_executed: false }
    }

    /// Retries a request while the store is unavailable. The request must be idempotent.
    async fn run<T, F>(&mut self, request: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut outcome = request().await;
        while let Err(StoreError::Unavailable(why)) = &outcome {
            tracing::debug!("the store does not respond to a client's request: {why}");
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
