//! Why the cluster returned no outcome.

/// `Display` is the `cause` of error 300. Unless stated otherwise, a write may have been executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No outcome within the request timeout.
    #[error("etcdserver: request timed out")]
    TimedOut,
    /// Timed out, and the leader changed meanwhile; or a snapshot replaced the state.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    LeaderFailed,
    /// Timed out without a connection to the leader.
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    ConnectionLost,
    /// The member shuts down.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// The request was sent to no leader.
    #[error("etcdserver: request cancelled")]
    Cancelled,
    /// Not executed: too many requests are pending.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// Not executed: larger than the maximum log entry.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// Not executed: this member's log cannot grow. etcd itself would exit.
    #[error("etcdserver: no space left on this member's disk")]
    NoSpace,
}
