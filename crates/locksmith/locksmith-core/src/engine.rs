//! What the update agent says of itself on the bus (`com.coreos.update1`).

use std::fmt;

/// There is another version in the other slot, and it waits for the reboot.
pub const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";

/// The fields of `GetStatus` and of the signal `StatusUpdate`, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineStatus {
    /// Seconds since 1970; 0 is never.
    pub last_checked: i64,
    /// From 0 to 1.
    pub progress: f64,
    pub operation: String,
    pub new_version: String,
    /// Bytes.
    pub new_size: i64,
}

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The owner of the bus name.
    Engine,
    /// Another connection of root's: `locksmithctl send-need-reboot`.
    Root,
}

impl EngineStatus {
    #[must_use]
    pub fn needs_reboot(&self) -> bool {
        self.operation == NEED_REBOOT
    }

    /// What `send-need-reboot` sends.
    #[must_use]
    pub fn fake() -> Self {
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
    fn the_log_s_line() {
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
            EngineStatus::fake().to_string(),
            "LastCheckedTime=0 Progress=0 CurrentOperation=\"UPDATE_STATUS_UPDATED_NEED_REBOOT\" NewVersion= NewSize=0"
        );
    }
}
