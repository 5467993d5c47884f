//! What the front needs of a store: the seam between HTTP and replication.
//!
//! Deadlines of writes belong to the back end (only it knows election timeouts): each of its futures must end.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use etcd_api::{ApiError, Event, Key, Member, Timestamp, Unavailable};
use etcd_store::{Command, MembershipError, Outcome, Store};

/// A store that the front serves.
pub trait Backend: Clone + Send + Sync + 'static {
    type Watch: EventSource;

    /// Gives the outcome once the command is durable and applied here.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Outcome, Unavailable>> + Send;

    /// The time that keys end by.
    fn now(&self) -> Timestamp;

    /// The same, from which on a `ttl` is counted: a member that does not know it yet waits.
    fn settled_time(&self) -> impl Future<Output = Result<Timestamp, Unavailable>> + Send;

    /// Returns when the local state holds everything that was acknowledged anywhere before the call.
    fn barrier(&self) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Looks at the local applied state. `look` must be short: applying may wait for it.
    fn read<R>(&self, look: impl FnOnce(&Store) -> R) -> R;

    /// Opens a watch. The store index, what history has, and the registration are of one moment.
    fn watch(&self, asked: &Watched) -> Result<Watching<Self::Watch>, ApiError>;

    /// Open watches of this member.
    fn watchers(&self) -> u64;

    /// Last applied log index and term, for the headers of every answer: must be cheap.
    fn position(&self) -> Position;

    fn status(&self) -> Status;

    /// Whether requests need credentials; asked for each of them. Override it where `read` is dear.
    fn auth_enabled(&self) -> bool {
        self.read(|store| store.auth().is_enabled())
    }

    /// Adds a member with a fresh id.
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

/// What a watch is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub key: Key,
    pub recursive: bool,
    /// Events with at least this index, also from history; none: those after now.
    pub since: Option<u64>,
    /// All events, not only the first.
    pub stream: bool,
}

/// An open watch.
#[derive(Debug)]
pub struct Watching<W> {
    /// The store index at registration.
    pub index: u64,
    /// Matches that history had, in order; at most one unless the watch is a stream.
    pub history: Vec<Arc<Event>>,
    /// What comes after; none where history has answered already.
    pub live: Option<W>,
}

/// Later events of a watch. Dropping it ends the watch.
pub trait EventSource: Send + Unpin + 'static {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Next>;
}

/// One step of a watch.
#[derive(Clone, Debug)]
pub enum Next {
    Event(Arc<Event>),
    /// The reader was too slow, or the store ends: what follows would have a gap.
    Closed,
}

/// Where the local log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub index: u64,
    pub term: u64,
}

/// Why the members stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum MemberChangeError {
    #[error(transparent)]
    Refused(#[from] MembershipError),
    /// The change would leave fewer started members than a majority needs.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    Unsafe,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What a member is in its cluster.
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

/// A moment's view of this member, for statistics and metrics.
#[derive(Clone, Debug)]
pub struct Status {
    pub cluster_id: u64,
    pub member_id: u64,
    pub name: String,
    pub role: Role,
    pub leader: Option<u64>,
    pub started: SystemTime,
    /// Since when there is this leader.
    pub leader_since: Option<SystemTime>,
    pub position: Position,
    pub committed: u64,
    pub proposals_pending: u64,
    pub proposals_failed: u64,
    pub leader_changes: u64,
    pub appends_received: u64,
    pub appends_sent: u64,
    /// Per second, over the last while.
    pub received: Rate,
    pub sent: Rate,
    /// On the leader: how its followers do.
    pub followers: Vec<Follower>,
    /// Bytes of the state on disk.
    pub database_bytes: u64,
}

/// Traffic between members.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub packets: f64,
    pub bytes: f64,
}

/// The leader's statistics of one follower; times in milliseconds.
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
