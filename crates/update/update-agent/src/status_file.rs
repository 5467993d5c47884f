//! `/run/update-engine/status.json`: the status for operators, the login message and scripts. `metrics.prom` beside it
//! is for the textfile collector of Prometheus's node exporter.

use serde::Serialize;
use update_engine::Paths;

/// Times are Unix time in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StatusFile {
    pub operation: String,
    /// The running version.
    pub version: String,
    pub group: String,
    /// Of the root in force, if any.
    pub root_version: Option<u64>,
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
    /// The channel's version by its newest verified timestamp.
    pub channel_version: Option<String>,
    /// When that timestamp expires.
    pub channel_expires: Option<u64>,
    /// Set if the newest verified timestamp is expired.
    pub outdated: Option<String>,
    /// The reason of an operator's hold.
    pub hold: Option<String>,
    /// Rejected versions with their reasons.
    pub bans: Vec<String>,
}

impl StatusFile {
    /// Best effort: updates do not depend on these files.
    pub fn write(&self, paths: &Paths) {
        let status = serde_json::to_vec_pretty(self).unwrap_or_default();
        for (path, bytes) in [(paths.status(), status), (paths.metrics(), self.metrics().into_bytes())] {
            let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            if let Err(error) = folder.and_then(|()| service::file::replace(&path, &bytes, 0o644)) {
                tracing::warn!(%error, path = %path.display(), "cannot write the status file");
            }
        }
    }

    /// In Prometheus's text format.
    fn metrics(&self) -> String {
        let last_checked = u64::try_from(self.last_checked).unwrap_or(0);
        let gauges = [
            (
                "keelson_update_last_checked_timestamp_seconds",
                "Time of the last check with a response; 0: never.",
                last_checked,
            ),
            (
                "keelson_update_channel_expiry_timestamp_seconds",
                "Issue time of the channel's newest verified timestamp; 0: none.",
                self.channel_expires.unwrap_or(0),
            ),
            (
                "keelson_update_channel_outdated",
                "1 if the channel had no new timestamp for a week.",
                u64::from(self.outdated.is_some()),
            ),
            (
                "keelson_update_reboot_pending",
                "1 if a new version awaits a reboot.",
                u64::from(self.pending.is_some()),
            ),
        ];
        let lines = gauges.map(|(name, help, value)| {
            format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
        });
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_gauges_of_the_status() {
        let file = StatusFile {
            last_checked: 1000,
            channel_expires: Some(900),
            outdated: Some("x".to_owned()),
            ..StatusFile::default()
        };
        let text = file.metrics();
        for line in [
            "keelson_update_last_checked_timestamp_seconds 1000",
            "keelson_update_channel_expiry_timestamp_seconds 900",
            "keelson_update_channel_outdated 1",
            "keelson_update_reboot_pending 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(text.matches("# TYPE ").count(), 4);
    }
}
