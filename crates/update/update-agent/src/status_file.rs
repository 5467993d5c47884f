//! `/run/update-engine/status.json`: how it stands, for people, the login message and scripts.

use serde::Serialize;
use update_engine::Places;

/// All of it. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StatusFile {
    pub operation: String,
    /// That runs.
    pub version: String,
    pub group: String,
    /// The number of the set of keys that counts; None where there is none.
    pub key_set: Option<u64>,
    /// A URL, or why no server is asked.
    pub server: String,
    pub last_checked: i64,
    pub next_check: u64,
    pub new_version: Option<String>,
    pub progress: f64,
    /// Bytes a second, over the last download's whole time.
    pub rate: u64,
    pub seconds_left: Option<u64>,
    /// The version that waits for a reboot.
    pub pending: Option<String>,
    /// What the last check came to, where it was no failure.
    pub last_result: Option<String>,
    pub last_error: Option<String>,
    pub last_error_time: Option<u64>,
    /// Why nothing is installed by itself.
    pub hold: Option<String>,
    /// Versions that are not wanted on this machine, each with the reason.
    pub bans: Vec<String>,
}

impl StatusFile {
    /// It is for reading only: where it cannot be written, the work goes on.
    pub fn write(&self, places: &Places) {
        let path = places.status();
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| service::file::replace(&path, &bytes, 0o644)) {
            tracing::warn!(%error, path = %path.display(), "the status file is not written");
        }
    }
}
