//! What systemd says of a unit.

/// systemd's own words: `loaded`, `active`, `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdState {
    pub load: String,
    pub active: String,
    pub sub: String,
}

impl SystemdState {
    /// Whether nothing of it runs, and nothing is on its way.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed")
    }
}
