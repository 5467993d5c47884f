//! Interface to the backend of the API: fleetd with its store, or an in-memory cluster.

use fleet_api::additions::Plan;
use fleet_core::registry::View;
use fleet_core::schedule::Scheduler;
use fleet_core::{Cordon, JobState, MachineId};
use unit_file::{UnitFile, UnitName};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store is unavailable: 503.
    #[error("the store cannot be reached")]
    NoStore,
    /// The store returned an error, which is only logged: 500.
    #[error("{0}")]
    Store(String),
    /// The object no longer exists: 404.
    #[error("it does not exist")]
    Missing,
}

/// Changes are complete when their future resolves.
pub trait Backend: Send + Sync + 'static {
    /// Reads the current state. Returns `None` before the first registration and during longer outages of the store:
    /// 503. `read` must be short, as the backend may hold a lock.
    fn with_view<R>(&self, read: impl FnOnce(&View, &Scheduler) -> R) -> Option<R>;

    /// Creates a unit, or replaces its contents.
    fn create(
        &self,
        name: &UnitName,
        file: &UnitFile,
        desired: JobState,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Sets the state that a unit is to have.
    fn set_desired(
        &self,
        name: &UnitName,
        desired: JobState,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes a unit; it is stopped where it runs.
    fn destroy(&self, name: &UnitName) -> impl Future<Output = Result<(), Failure>> + Send;

    /// An empty value removes the key.
    fn set_metadata(
        &self,
        machine: &MachineId,
        key: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Sets whether a machine gets units, and whether it keeps those that it has.
    fn set_cordon(
        &self,
        machine: &MachineId,
        cordon: Cordon,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Starts to balance the load of machines. Returns the planned moves.
    fn rebalance(&self) -> impl Future<Output = Result<Plan, Failure>> + Send;

    /// Id of this machine, the only one whose status and journal are served.
    fn me(&self) -> &MachineId;

    /// Metrics in the Prometheus text format.
    fn metrics(&self) -> String;
}
