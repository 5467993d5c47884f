//! The interface between the HTTP front end and a replicated store.
//!
//! A back end implements the timeouts of writes, since it knows the election timeout: each of its futures must
//! finish.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use etcd_api::{ApiError, Event, Key, Member, Timestamp, Unavailable};
use etcd_store::{Command, MembershipError, Outcome, Store};

/// A store that the front end can serve.
pub trait Backend: Clone + Send + Sync + 'static {
    type Watch: EventSource;

    /// Returns the outcome when the command is durable and applied locally.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Outcome, Unavailable>> + Send;

    /// The time by which keys expire.
    fn now(&self) -> Timestamp;

    /// The time at which a `ttl` starts. Waits if the member does not know it yet.
    fn settled_time(&self) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send;

    /// Returns when the local state includes everything that was acknowledged anywhere before the call.
    fn barrier(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Reads the local applied state. `read` must be short: it may block applying.
    fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R;

    /// Opens a watch. Index, history and registration are atomic.
    fn watch(&self, options: &WatchOptions) -> Result<OpenWatch<Self::Watch>, ApiError>;

    /// Number of open watches of this member.
    fn watchers(&self) -> u64;

    /// Index and term of the last applied entry, for the headers of every response; must be cheap.
    fn position(&self) -> Position;

    fn status(&self) -> Status;

    /// Whether requests need credentials; called for each request. Override it if `read` is expensive.
    fn auth_enabled(&self) -> bool {
        self.read(|store| store.auth().is_enabled())
    }

    /// Adds a member with a new id.
    fn add_member(
        &self,
        peer_urls: Vec<String>,
    ) -> impl Future<Output = Result<Member, MemberChangeError>> + Send;

    fn update_member(
        &self,
        id: u64,
        peer_urls: Vec<String>,
    ) -> impl Future<Output = Result<(), MemberChangeError>> + Send;

    fn remove_member(&self, id: u64) -> impl Future<Output = Result<(), MemberChangeError>> + Send;
}

/// Parameters of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    pub key: Key,
    pub recursive: bool,
    /// Events with at least this index, including past ones; `None` for future events only.
    pub since: Option<u64>,
    /// All events, or only the first one.
    pub stream: bool,
}

/// An open watch.
#[derive(Debug)]
pub struct OpenWatch<W> {
    /// The store's index at registration.
    pub index: u64,
    /// Matching events from the history, in order; at most one unless the watch is a stream.
    pub history: Vec<Arc<Event>>,
    /// Future events; `None` if the history has an event and the watch is not a stream.
    pub live: Option<W>,
}

/// Future events of a watch. Dropping it cancels the watch.
pub trait EventSource: Send + Unpin + 'static {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Next>;
}

/// Result of polling a watch.
#[derive(Clone, Debug)]
pub enum Next {
    Event(Arc<Event>),
    /// The reader was too slow, or the store has stopped: events would be missing.
    Closed,
}

/// Position in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// Why a membership change failed.
#[derive(Debug, thiserror::Error)]
pub enum MemberChangeError {
    #[error(transparent)]
    Refused(#[from] MembershipError),
    /// Too few started members would remain for a majority.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    Unsafe,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The raft role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    Candidate,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Leader => "StateLeader",
            Role::Follower => "StateFollower",
            Role::Candidate => "StateCandidate",
        }
    }
}

/// A snapshot of this member's state, for statistics and metrics.
#[derive(Clone, Debug)]
pub struct Status {
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    pub role: Role,
    pub leader: Option<u64>,
    pub started: SystemTime,
    /// Since when the current leader is known.
    pub leader_since: Option<SystemTime>,
    pub position: Position,
    pub committed: u64,
    pub proposals_pending: u64,
    pub proposals_failed: u64,
    pub leader_changes: u64,
    pub appends_received: u64,
    pub appends_sent: u64,
    /// Rates per second of recent traffic.
    pub received: Rate,
    pub sent: Rate,
    /// On the leader, statistics of the followers.
    pub followers: Vec<Follower>,
    /// Size of the state on disk in bytes.
    pub database_bytes: u64,
}

/// Traffic between members, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub packets: f64,
    pub bytes: f64,
}

/// The leader's statistics of a follower; times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Follower {
    pub id: u64,
    pub current: f64,
    pub average: f64,
    pub standard_deviation: f64,
    pub minimum: f64,
    pub maximum: f64,
    pub failures: u64,
    pub successes: u64,
}
