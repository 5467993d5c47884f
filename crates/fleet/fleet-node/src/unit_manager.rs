//! What a node does to units, and what it asks of other nodes.

use std::collections::BTreeMap;
use std::fmt;

use fleet_core::{MachineId, RefusalScope};
use unit_file::{UnitFile, UnitName};

/// Units of one folder, as systemd has them. Cheap to clone.
pub trait UnitManager: Clone + Send + Sync + 'static {
    /// The units whose files are there.
    fn list_unit_files(
        &self,
    ) -> impl Future<Output = Result<BTreeMap<UnitName, UnitFile>, UnitManagerError>> + Send;

    /// Writes and links its file.
    fn load(
        &self,
        name: &UnitName,
        file: &UnitFile,
    ) -> impl Future<Output = Result<NeedDaemonReload, UnitManagerError>> + Send;

    /// Returns when the unit's stop job has ended and its file is gone; so it does where it never was there.
    fn unload(
        &self,
        name: &UnitName,
    ) -> impl Future<Output = Result<NeedDaemonReload, UnitManagerError>> + Send;

    /// Finds units whose files are new, so that they are used.
    fn discover(&self, names: &[UnitName]) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// All files are read again: this finds units, too. It takes long, and nothing else is done meanwhile.
    fn daemon_reload(&self) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Returns when the job is queued.
    fn start(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Returns when the job has ended.
    fn stop(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    /// Ends all processes of the unit at once.
    fn kill(&self, name: &UnitName) -> impl Future<Output = Result<(), UnitManagerError>> + Send;

    fn states(
        &self,
        names: &[UnitName],
    ) -> impl Future<Output = Result<BTreeMap<UnitName, SystemdState>, UnitManagerError>> + Send;

    /// Changes from now on.
    fn events(&self) -> tokio::sync::mpsc::Receiver<UnitManagerEvent>;
}

/// The words are systemd's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdState {
    pub load: String,
    pub active: String,
    pub sub: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitManagerEvent {
    StateChanged(UnitName, SystemdState),
    /// Some were lost: all are to be asked for anew.
    EventsLost,
}

/// What systemd, or the file system, said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UnitManagerError {
    pub text: String,
    /// What `list-units` shows in LOAD where a unit cannot be loaded: `error`, `masked`.
    pub load: &'static str,
    /// Where the same would happen again.
    pub scope: RefusalScope,
}

/// Whether [`UnitManager::daemon_reload`] has to come before what was loaded is used, and what was unloaded is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum NeedDaemonReload {
    Yes,
    /// For what was loaded, [`UnitManager::discover`] is enough.
    No,
}

/// Asks other nodes whether they have the store.
pub trait Peers: Clone + Send + Sync + 'static {
    /// Whether every one of them has answered that it has not. No answer is none.
    fn all_without_store(&self, others: &[Peer]) -> impl Future<Output = bool> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: MachineId,
    /// May be empty: then it cannot be asked.
    pub address: String,
}

impl fmt::Display for SystemdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.load, self.active, self.sub)
    }
}
