//! Why there is no outcome: what a request is told that the cluster could not answer.

/// `Display` is the `cause` of error 300. Unless it says so, a write may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("etcdserver: request timed out")]
    TimedOut,
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    LeaderFailed,
    #[error("etcdserver: request timed out, possibly due to connection lost")]
    ConnectionLost,
    #[error("etcdserver: server stopped")]
    Stopped,
    #[error("etcdserver: request cancelled")]
    Cancelled,
    /// Refused before anything was done: too many requests wait already.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// Refused before anything was done: larger than any log entry may be.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// Refused before anything was done: this member's log cannot grow. etcd itself would end here.
    #[error("etcdserver: no space left on this member's disk")]
    NoSpace,
}
