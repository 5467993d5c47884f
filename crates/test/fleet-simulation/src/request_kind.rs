//! Classification of requests to the store.

use fleet_core::registry::Key;

/// Kind of a request, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestKind {
    /// A client sets a unit's desired state.
    DesiredState,
    /// The engine schedules a unit.
    Target,
    /// A machine claims a unit.
    Claim,
    /// A machine publishes a unit's state.
    State,
    /// Refresh of a claim or state.
    Renewal,
    /// Heartbeats.
    Presence,
    /// The engine's lease.
    Lease,
    /// Read of the whole registry.
    Snapshot,
    Other,
}

impl RequestKind {
    pub fn writing(key: &Key) -> Self {
        match key {
            Key::TargetState(_) => Self::DesiredState,
            Key::Target(_) => Self::Target,
            Key::JobState(_) => Self::Claim,
            Key::State(..) => Self::State,
            Key::MachineObject(_) | Key::MachineInstance(_) | Key::MachineCapacity(_) => Self::Presence,
            Key::EngineLeader => Self::Lease,
            _ => Self::Other,
        }
    }

    pub fn renewing(key: &Key) -> Self {
        match Self::writing(key) {
            Self::Claim | Self::State => Self::Renewal,
            other => other,
        }
    }
}
