//! State of a unit.

/// systemd's LoadState, ActiveState and SubState, such as `loaded`, `active`, `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdState {
    /// `loaded`, `not-found`, `bad-setting`, `error`, `masked`, ...
    pub load: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// Depends on the unit's type: `running`, `exited`, `waiting`, ...
    pub sub: String,
}

impl SystemdState {
    /// Whether the unit is down, without a start or stop in progress.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}
