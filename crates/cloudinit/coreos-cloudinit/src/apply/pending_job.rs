//! Unit jobs that other commands do not wait for.

use host::systemd::Job;

/// A job still running when the next command is issued.
pub(super) struct PendingJob {
    pub unit: String,
    pub command: String,
    pub job: Job,
}
