//! Commands that others do not wait for.

use host::systemd::Job;

/// A command whose job was not over when the next one was given.
pub(super) struct Postponed {
    pub unit: String,
    pub command: String,
    pub job: Job,
}
