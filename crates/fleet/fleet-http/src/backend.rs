//! Who stands behind the API: fleetd with its store, or a cluster in memory.

use fleet_api::additions::Plan;
use fleet_core::registry::View;
use fleet_core::schedule::Scheduler;
use fleet_core::{Cordon, JobState, MachineId};
use unit_file::{UnitFile, UnitName};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store is away: 503.
    #[error("the store cannot be reached")]
    NoStore,
    /// The store said no. The words go to the log only: 500.
    #[error("{0}")]
    Store(String),
    /// What it was about is not there any more: 404.
    #[error("it does not exist")]
    Missing,
    /// It cannot be: a status, mostly 409, and why.
    #[error("{1}")]
    Refused(u16, String),
}

/// What a change promises, it has done when it answers.
pub trait Backend: Send + Sync + 'static {
    /// What the store says now; `None` before the first registration and while the store is away for long: 503.
    /// The look is short: whoever is asked may hold a lock meanwhile.
    fn look<R>(&self, look: impl FnOnce(&View, &Scheduler) -> R) -> Option<R>;

    /// Stores a unit, new or with a new text.
    fn create(
        &self,
        name: &UnitName,
        file: &UnitFile,
        desired: JobState,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    fn set_desired(
        &self,
        name: &UnitName,
        desired: JobState,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    fn destroy(&self, name: &UnitName) -> impl Future<Output = Result<(), Failure>> + Send;

    /// An empty value takes the key away.
    fn set_metadata(
        &self,
        machine: &MachineId,
        key: &str,
        value: &str,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    fn set_cordon(
        &self,
        machine: &MachineId,
        cordon: Cordon,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Begins to make machines loaded alike, and says what was begun.
    fn rebalance(&self) -> impl Future<Output = Result<Plan, Failure>> + Send;

    /// This machine's id: status and journal are answered for it alone.
    fn me(&self) -> &MachineId;

    /// Prometheus' text.
    fn metrics(&self) -> String;
}
