//! Whether an unavailable datasource is retried.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Booting: the source may become available.
    Retry,
    /// Interactive use: an unavailable source is an error.
    Once,
}
