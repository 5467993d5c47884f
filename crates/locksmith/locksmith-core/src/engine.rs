//! The update engine's status on D-Bus (`com.coreos.update1`).

use std::fmt;

/// A new version is installed in the other slot and waits for the reboot.
pub const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";

/// The result of `GetStatus` and the arguments of the signal `StatusUpdate`, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineStatus {
    /// Seconds since the epoch; 0 means never.
    pub last_checked: i64,
    /// From 0 to 1.
    pub progress: f64,
    pub operation: String,
    pub new_version: String,
    /// In bytes.
    pub new_size: i64,
}

/// Who sent a status signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalSender {
    /// The owner of the bus name.
    Engine,
    /// Another connection of root: `locksmithctl send-need-reboot`.
    Root,
}

impl EngineStatus {
    #[must_use]
    pub fn needs_reboot(&self) -> bool {
        self.operation == NEED_REBOOT
    }

    /// The status that `send-need-reboot` emits.
    #[must_use]
    pub fn need_reboot() -> Self {
        Self { operation: NEED_REBOOT.to_owned(), ..Self::default() }
    }
}

impl fmt::Display for EngineStatus {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last_checked, progress, operation, new_version, new_size } = self;
        write!(
            to,
            "LastCheckedTime={last_checked} Progress={progress} CurrentOperation={operation:?} \
             NewVersion={new_version} NewSize={new_size}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_format() {
        let status = EngineStatus {
            last_checked: 1_400_000_000,
            progress: 0.25,
            operation: "UPDATE_STATUS_DOWNLOADING".into(),
            new_version: "2079.3.0".into(),
            new_size: 443_829_103,
        };
        assert_eq!(
            status.to_string(),
            "LastCheckedTime=1400000000 Progress=0.25 CurrentOperation=\"UPDATE_STATUS_DOWNLOADING\" \
             NewVersion=2079.3.0 NewSize=443829103"
        );
        assert_eq!(
            EngineStatus::need_reboot().to_string(),
            "LastCheckedTime=0 Progress=0 CurrentOperation=\"UPDATE_STATUS_UPDATED_NEED_REBOOT\" NewVersion= NewSize=0"
        );
    }
}
