//! `/run/update-engine/status.json`: the status for operators, the login message and scripts.

use serde::Serialize;
use update_engine::Paths;

/// Times are Unix time in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StatusFile {
    pub operation: String,
    /// The running version.
    pub version: String,
    pub group: String,
    /// Epoch of the key set in force, if any.
    pub key_set: Option<u64>,
    /// The URL, or why updates are disabled.
    pub server: String,
    pub last_checked: i64,
    pub next_check: u64,
    pub new_version: Option<String>,
    pub progress: f64,
    /// Average bytes per second of the last download.
    pub rate: u64,
    pub seconds_left: Option<u64>,
    /// The version whose reboot is pending.
    pub pending: Option<String>,
    /// Result of the last successful check.
    pub last_result: Option<String>,
    pub last_error: Option<String>,
    pub last_error_time: Option<u64>,
    /// The reason of an operator's hold.
    pub hold: Option<String>,
    /// Rejected versions with their reasons.
    pub bans: Vec<String>,
}

impl StatusFile {
    /// Best effort: updates do not depend on this file.
    pub fn write(&self, paths: &Paths) {
        let path = paths.status();
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| service::file::replace(&path, &bytes, 0o644)) {
            tracing::warn!(%error, path = %path.display(), "cannot write the status file");
        }
    }
}
