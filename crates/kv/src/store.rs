//! The whole replicated state.

use std::sync::Arc;

use etcd_api::{ApiError, Event, Key, StoreStatistics, Timestamp};

use crate::{Auth, Changes, Command, Membership, Outcome};

/// The state after some prefix of the log.
#[derive(Debug, Default)]
pub struct Store {
    index: u64,
    membership: Membership,
    auth: Auth,
}

impl Store {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts changes: the `X-Etcd-Index`.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Carries out one command.
    pub fn apply(&mut self, _command: &Command) -> Outcome {
        unimplemented!("comes with the tree")
    }

    /// A node, with its visible children where it is a directory. Counts in the statistics.
    pub fn get(&self, _key: &Key, _recursive: bool) -> Result<Event, ApiError> {
        unimplemented!("comes with the tree")
    }

    /// The first kept event at or after `since` that a watch of `key` would see; `None` where a watch has
    /// to wait. Error 401 when events since then are gone.
    pub fn scan_history(
        &self,
        _key: &Key,
        _recursive: bool,
        _since: u64,
    ) -> Result<Option<Arc<Event>>, ApiError> {
        unimplemented!("comes with the tree")
    }

    /// The earliest expiration of any node: a sync before it does nothing.
    pub fn next_expiration(&self) -> Option<Timestamp> {
        None
    }

    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// `watchers` is 0.
    pub fn statistics(&self) -> StoreStatistics {
        StoreStatistics::default()
    }

    /// What a checkpoint has to write since the last call; everything on the first.
    pub fn take_changes(&mut self) -> Changes {
        Changes::default()
    }
}
