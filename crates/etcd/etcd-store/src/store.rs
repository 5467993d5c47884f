//! The replicated state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_api::{ApiError, ErrorCode, Event, Key, StoreStatistics, Timestamp, to_text};

use crate::arena::Slot;
use crate::auth::Auth;
use crate::auth_error::AuthError;
use crate::command::{AuthCommand, Command};
use crate::history::{History, HistoryEntry};
use crate::listing;
use crate::membership::Membership;
use crate::membership_error::MembershipError;
use crate::outcome::{Change, CommandError, Outcome};
use crate::tree::{Tree, Walk};

/// The state after a prefix of the log.
#[derive(Debug)]
pub struct Store {
    pub(crate) tree: Tree,
    pub(crate) history: History,
    pub(crate) membership: Membership,
    pub(crate) auth: Auth,
    /// Counters except reads, which are counted separately, since reading must not require `&mut`.
    pub(crate) statistics: StoreStatistics,
    pub(crate) reads: Reads,
    /// Members or users have changed since the last checkpoint.
    pub(crate) meta_changed: MetaChanged,
}

#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) success: AtomicU64,
    pub(crate) fail: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct MetaChanged {
    pub(crate) counters: bool,
    pub(crate) membership: bool,
    pub(crate) auth: bool,
}

impl Store {
    /// The state before the first command: an empty root, no members, auth disabled.
    pub fn new() -> Self {
        Self {
            tree: Tree::new(),
            history: History::after(0),
            membership: Membership::default(),
            auth: Auth::default(),
            statistics: StoreStatistics::default(),
            reads: Reads::default(),
            meta_changed: MetaChanged::default(),
        }
    }

    /// The number of changes: `X-Etcd-Index`.
    pub fn index(&self) -> u64 {
        self.history.next() - 1
    }

    /// Number of keys with a value, including hidden ones.
    pub fn key_count(&self) -> usize {
        self.tree.all().into_iter().filter(|slot| !self.tree.node(*slot).is_directory()).count()
    }

    /// Applies a command.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        // A rejected command is counted, too.
        self.meta_changed.counters = true;
        let result = match command {
            Command::Put(put) => self.put(put).map_err(CommandError::Keys),
            Command::Post(post) => self.post(post).map_err(CommandError::Keys),
            Command::Delete(delete) => self.delete(delete).map_err(CommandError::Keys),
            Command::Sync { now } => Ok(Change::Expired(self.expire(*now))),
            Command::Auth(command) => self.apply_auth(command).map_err(CommandError::Auth),
            members => self.apply_membership(members).map_err(CommandError::Membership),
        };
        Outcome { index: self.index(), result }
    }

    fn apply_auth(&mut self, command: &AuthCommand) -> Result<Change, AuthError> {
        let (change, records) = self.auth.apply(command)?;
        self.meta_changed.auth = true;
        for _ in 0..records {
            self.record(None);
        }
        Ok(change)
    }

    fn apply_membership(&mut self, command: &Command) -> Result<Change, MembershipError> {
        let change = self.membership.apply(command)?;
        self.meta_changed.membership = true;
        if change != Change::Disk {
            self.record(None);
        }
        Ok(change)
    }

    /// Increments the index.
    pub(crate) fn record(&mut self, entry: HistoryEntry) {
        self.history.push(entry);
    }

    pub(crate) fn error(&self, code: ErrorCode, cause: &[u8]) -> ApiError {
        ApiError::new(code, to_text(cause), self.index())
    }

    /// The node of a key, or the error for a missing key or a file in the path.
    pub(crate) fn find(&self, key: &Key) -> Result<Slot, ApiError> {
        let path = key.as_bytes();
        match self.tree.walk(key) {
            Walk::Found(slot) => Ok(slot),
            Walk::Blocked { end } => Err(self.error(ErrorCode::NotADirectory, &path[..end])),
            Walk::Missing { end, .. } => {
                let rest = &path[end + 1..];
                let name = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                Err(self.error(ErrorCode::KeyNotFound, &path[..end + 1 + name]))
            }
        }
    }

    /// A node; for a directory with its visible children, sorted by name. Updates the statistics.
    pub fn get(&self, key: &Key, recursive: bool) -> Result<Event, ApiError> {
        let found = self.find(key);
        let count = if found.is_ok() { &self.reads.success } else { &self.reads.fail };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(listing::get(&self.tree, found?, key, recursive))
    }

    /// The first event at or after `since` that a watch of `key` receives; `None` if the watch has to wait. Error 401
    /// if the history has been cleared.
    pub fn scan_history(
        &self,
        key: &Key,
        recursive: bool,
        since: u64,
    ) -> Result<Option<Arc<Event>>, ApiError> {
        self.history.scan(key, recursive, since)
    }

    /// The earliest expiration of any node; an earlier sync has no effect.
    pub fn next_expiration(&self) -> Option<Timestamp> {
        self.tree.first_expiration().map(|(at, _)| *at)
    }

    /// The recorded members.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Users and roles, and whether auth is enabled.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// `watchers` is 0.
    pub fn statistics(&self) -> StoreStatistics {
        StoreStatistics {
            gets_success: self.reads.success.load(Ordering::Relaxed),
            gets_fail: self.reads.fail.load(Ordering::Relaxed),
            ..self.statistics
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}
