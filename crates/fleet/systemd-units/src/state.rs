//! State of a unit.

/// systemd's LoadState, ActiveState and SubState, such as `loaded`, `active`, `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdState {
    pub load: String,
    pub active: String,
    pub sub: String,
}

impl SystemdState {
    /// Whether the unit is down, without a start or stop in progress.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}
