//! Why the cluster returned no outcome.

/// `Display` is the `cause` of error 300. Unless stated otherwise, a write may have been executed.
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
