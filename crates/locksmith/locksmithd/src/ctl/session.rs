//! The clients that a command uses, opened from the settings.

use std::sync::Arc;

use etcd_client::{SlowReport, Trace, TracedRequest};
use fleet_client::Client;
use locksmith_core::{HolderMetadata, StoreSettings};

use super::failure::Failure;
use crate::io::etcd_lock::{EtcdLock, StoreError};
use crate::io::{fleet, machine};
use crate::limits::SLOW_REPORT_AFTER;

pub struct Session {
    store: StoreSettings,
}

/// locksmith's message for a command that cannot start.
fn init_failure(cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Error initializing etcd client: {cause}"))
}

impl Session {
    pub fn new(store: StoreSettings) -> Session {
        Session { store }
    }

    /// Opens the lock and creates its key if missing.
    pub async fn lock(&self) -> Result<EtcdLock, Failure> {
        let log_request = |traced: &TracedRequest<'_>| {
            eprintln!("DEBUG: HTTP {} {} {}", traced.method, traced.url, traced.body.unwrap_or_default());
        };
        let trace = self.store.debug.then(|| Trace(Arc::new(log_request)));
        let slow = SlowReport {
            after: SLOW_REPORT_AFTER,
            report: Arc::new(|endpoint| eprintln!("Waiting for a response of {endpoint}")),
        };
        let lock = EtcdLock::open(&self.store, trace, Some(slow)).map_err(init_failure)?;
        lock.create().await.map_err(init_failure)?;
        Ok(lock)
    }

    pub fn fleet(&self) -> Result<Client, Failure> {
        fleet::client(&self.store.fleet)
            .map_err(|error| Failure::new(format!("-fleet-endpoint: {}: {error}", self.store.fleet)))
    }
}

/// The given ID, or this machine's.
pub fn holder_id(parsed: Option<&str>) -> Result<String, Failure> {
    match parsed {
        Some(id) => Ok(id.to_owned()),
        None => machine::id().map_err(|error| Failure::new(error.to_string())),
    }
}

/// Records why the lock is held. The lock does not depend on it, so that a failure is a warning.
pub async fn write_metadata(lock: &EtcdLock, id: &str, metadata: Option<&HolderMetadata>) {
    if let Err(error) = lock.write_metadata(id, metadata).await {
        eprintln!("WARNING: the lock's metadata: {error}");
    }
}

/// locksmith's format; `verb` names the operation.
pub fn failed(verb: &str, error: &StoreError) -> Failure {
    Failure::new(format!("Error {verb}: {error}"))
}
