//! What a request to the store is about.

use fleet_core::registry::Key;

/// What requests are counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestKind {
    /// A unit's desired state: a client's write.
    DesiredState,
    /// The machine that the engine gives a unit.
    Target,
    /// A machine says that it will launch a unit.
    Claim,
    /// A machine tells what systemd says of a unit.
    State,
    /// A claim or a state is renewed.
    Renewal,
    /// A machine's beats.
    Presence,
    /// The engine's lease.
    Lease,
    /// Everything is read.
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
