//! The way from checked flags to the lock.

use std::sync::Arc;

use etcd_client::{SlowReport, Trace, TracedRequest};
use fleet_client::Client;
use locksmith_core::{HolderMetadata, StoreSettings};

use super::failure::Failure;
use crate::hands::lock::{EtcdLock, StoreError};
use crate::hands::{fleet, machine};
use crate::limits::SLOW_REPORT_AFTER;

pub struct Session {
    store: StoreSettings,
}

/// What a command of the original says where it cannot begin.
fn init_failure(cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Error initializing etcd client: {cause}"))
}

impl Session {
    pub fn new(store: StoreSettings) -> Session {
        Session { store }
    }

    /// The lock, whose key is there then.
    pub async fn lock(&self) -> Result<EtcdLock, Failure> {
        let log_request = |traced: &TracedRequest<'_>| {
            eprintln!("DEBUG: HTTP {} {} {}", traced.method, traced.url, traced.body.unwrap_or_default());
        };
        let trace = self.store.debug.then(|| Trace(Arc::new(log_request)));
        let slow = SlowReport {
            after: SLOW_REPORT_AFTER,
            report: Arc::new(|endpoint| eprintln!("Waiting for {endpoint} to answer")),
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

/// The id that is parsed, or this machine's.
pub fn holder_id(parsed: Option<&str>) -> Result<String, Failure> {
    match parsed {
        Some(id) => Ok(id.to_owned()),
        None => machine::id().map_err(|error| Failure::new(error.to_string())),
    }
}

/// Writes down why the lock is held. The lock is there without it, so a failure is only told.
pub async fn write_metadata(lock: &EtcdLock, id: &str, note: Option<&HolderMetadata>) {
    if let Err(error) = lock.note(id, note).await {
        eprintln!("WARNING: the note beside the lock: {error}");
    }
}

/// As the original put it, `verb` being what was tried.
pub fn failed(verb: &str, error: &StoreError) -> Failure {
    Failure::new(format!("Error {verb}: {error}"))
}
