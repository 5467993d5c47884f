//! Interfaces to systemd and to peers.

use std::collections::BTreeMap;
use std::fmt;

use fleet_core::{FenceKey, MachineId, RefusalScope};
use unit_file::{UnitFile, UnitName};

/// systemd units of one directory. Cheap to clone.
pub trait UnitManager: Clone + Send + Sync + 'static {
    /// The unit files in the directory.
    fn list_unit_files(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<UnitName, UnitFile>, UnitManagerError>> + Send;

    /// Writes and links the unit file.
    fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
    ) -> impl Future<Output = Result<NeedDaemonReload, UnitManagerError>> + Send;

    /// Returns when the stop job has ended and the file is removed, or if there was none.
    fn unload(
        &self,
        name: &UnitName,
    ) -> impl Future<Output = Result<NeedDaemonReload, UnitManagerError>> + Send;

    /// Makes systemd load new unit files.
    fn discover(&self, names: &[UnitName]) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Reloads all unit files. Slow, and blocks systemd.
    fn daemon_reload(&self) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Returns when the job is queued.
    fn start(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Returns when the job has ended.
    fn stop(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Kills all processes of the unit immediately.
    fn kill(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    fn states(
        &self,
        names: &[UnitName],
    ) -> impl Future<Output = Result<BTreeMap<UnitName, SystemdState>, UnitManagerError>> + Send;

    /// Subscribes to events from now on.
    fn events(&self) -> tokio::sync::mpsc::Receiver<UnitManagerEvent>;
}

/// systemd's LoadState, ActiveState and SubState.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdState {
    pub load: String,
    pub active: String,
    pub sub: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitManagerEvent {
    StateChanged(UnitName, SystemdState),
    /// Events were lost: all states must be read.
    EventsLost,
}

/// An error of systemd or the file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UnitManagerError {
    pub text: String,
    /// LoadState to publish if the unit cannot be loaded: `error` or `masked`.
    pub load: &'static str,
    /// Where the operation would fail again.
    pub scope: RefusalScope,
}

/// Whether [`UnitManager::daemon_reload`] is needed after a load or unload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum NeedDaemonReload {
    Yes,
    /// After a load, [`UnitManager::discover`] is sufficient.
    No,
}

/// Queries other nodes about the store.
pub trait Peers: Clone + Send + Sync + 'static {
    /// Whether all of `others` responded that they cannot reach the store, with responses that `key` authenticates. A
    /// missing response counts as no.
    fn all_without_store(&self, key: &FenceKey, others: &[Peer]) -> impl Future<Output = bool> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: MachineId,
    /// May be empty: then the peer cannot be queried.
    pub address: String,
}

impl fmt::Display for SystemdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.load, self.active, self.sub)
    }
}
