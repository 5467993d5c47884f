//! The status as clients, D-Bus and the reboot manager see it (contract 2.2 to 2.4).

/// The state of an update. The names are an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Nothing to do until the next check.
    Idle,
    /// A request is sent, and not answered yet.
    Checking,
    /// An offer was accepted.
    Available,
    /// The payload is fetched and written.
    Downloading,
    /// The written data is read back.
    Verifying,
    /// The boot entry is activated.
    Finalizing,
    /// The next boot starts the new version.
    NeedReboot,
    /// An attempt failed.
    ReportingError,
}

/// The result of `GetStatus`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Unix time in seconds of the last check with a response; 0: never.
    pub last_checked: i64,
    /// From 0 to 1.
    pub progress: f64,
    /// What happens now.
    pub operation: Operation,
    /// `0.0.0` without an update.
    pub new_version: String,
    /// Bytes to download.
    pub new_size: i64,
}

/// The version that clients show for none.
pub const NO_VERSION: &str = "0.0.0";

impl Operation {
    /// As on D-Bus, and in the output of `update_engine_client`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "UPDATE_STATUS_IDLE",
            Self::Checking => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
            Self::Available => "UPDATE_STATUS_UPDATE_AVAILABLE",
            Self::Downloading => "UPDATE_STATUS_DOWNLOADING",
            Self::Verifying => "UPDATE_STATUS_VERIFYING",
            Self::Finalizing => "UPDATE_STATUS_FINALIZING",
            Self::NeedReboot => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
            Self::ReportingError => "UPDATE_STATUS_REPORTING_ERROR_EVENT",
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self {
            last_checked: 0,
            progress: 0.0,
            operation: Operation::Idle,
            new_version: NO_VERSION.to_owned(),
            new_size: 0,
        }
    }
}

/// The output of `update_engine_client -status`.
#[must_use]
pub fn format_status(
    last_checked: i64,
    progress: f64,
    operation: &str,
    new_version: &str,
    new_size: i64,
) -> String {
    format!(
        "LAST_CHECKED_TIME={last_checked}\nPROGRESS={progress:.6}\nCURRENT_OP={operation}\n\
         NEW_VERSION={new_version}\nNEW_SIZE={new_size}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_has_five_lines() {
        let Status { last_checked, progress, operation, new_version, new_size } =
            Status { last_checked: 1_568_902_424, ..Status::default() };
        assert_eq!(
            format_status(last_checked, progress, operation.name(), &new_version, new_size),
            "LAST_CHECKED_TIME=1568902424\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\n\
             NEW_SIZE=0\n"
        );
    }
}
