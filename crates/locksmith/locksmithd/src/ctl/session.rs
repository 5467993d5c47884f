//! The way from checked flags to the lock.

use std::sync::Arc;

use etcd_client::{SlowReport, Trace, TracedRequest};
use fleet_client::Client;
use locksmith_core::{Note, Store};

use super::failure::Failure;
use crate::hands::lock::{EtcdLock, StoreError};
use crate::hands::{fleet, machine};
use crate::limits::SILENCE;

pub struct Session {
    store: Store,
}

/// What a command of the original says where it cannot begin.
fn unable(cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Error initializing etcd client: {cause}"))
}

impl Session {
    pub fn new(store: Store) -> Session {
        Session { store }
    }

    /// The lock, whose key is there then.
    pub async fn lock(&self) -> Result<EtcdLock, Failure> {
        let tell = |traced: &TracedRequest<'_>| {
            eprintln!("DEBUG: HTTP {} {} {}", traced.method, traced.url, traced.body.unwrap_or_default());
        };
        let trace = self.store.debug.then(|| Trace(Arc::new(tell)));
        let slow = SlowReport {
            after: SILENCE,
            report: Arc::new(|endpoint| eprintln!("Waiting for {endpoint} to answer")),
        };
        let lock = EtcdLock::open(&self.store, trace, Some(slow)).map_err(unable)?;
        lock.create().await.map_err(unable)?;
        Ok(lock)
    }

    pub fn fleet(&self) -> Result<Client, Failure> {
        fleet::client(&self.store.fleet)
            .map_err(|error| Failure::new(format!("-fleet-endpoint: {}: {error}", self.store.fleet)))
    }
}

/// The id that is given, or this machine's.
pub fn holder(given: Option<&str>) -> Result<String, Failure> {
    match given {
        Some(id) => Ok(id.to_owned()),
        None => machine::id().map_err(|error| Failure::new(error.to_string())),
    }
}

/// Writes down why the lock is held. The lock is there without it, so a failure is only told.
pub async fn write_note(lock: &EtcdLock, id: &str, note: Option<&Note>) {
    if let Err(error) = lock.note(id, note).await {
        eprintln!("WARNING: the note beside the lock: {error}");
    }
}

/// As the original put it, `verb` being what was tried.
pub fn failed(verb: &str, error: &StoreError) -> Failure {
    Failure::new(format!("Error {verb}: {error}"))
}
