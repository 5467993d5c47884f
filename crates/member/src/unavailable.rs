//! Why the cluster could not answer: the causes of contract 7.6, and refusals before anything was done.

/// The request was not answered; unless it says so, a write may or may not have happened.
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
    /// Refused before anything was done: too many requests wait already.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// Refused before anything was done: this member's log can not grow.
    #[error("etcdserver: no space left on this member's disk")]
    NoSpace,
    /// Refused before anything was done: larger than any log entry may be.
    #[error("etcdserver: request is too large")]
    TooLarge,
}
