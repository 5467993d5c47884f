//! The subject of a key.

use unit_file::UnitName;

use crate::machine::MachineId;
use crate::registry::key::Key;

/// What an event concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Machine(MachineId),
    Unit(UnitName),
    /// The state of a unit on a machine.
    State(UnitName, MachineId),
    Lease,
    EngineVersion,
}

impl Key {
    /// `None` for unit files, whose units vary, for ignored keys, and for the fence key, which is read when it is used.
    pub(super) fn subject(&self) -> Option<Subject> {
        match self {
            Self::MachineObject(id)
            | Self::MachineMetadata(id, _)
            | Self::MachineInstance(id)
            | Self::MachineCapacity(id)
            | Self::MachineCordon(id) => Some(Subject::Machine(id.clone())),
            Self::JobObject(name)
            | Self::TargetState(name)
            | Self::Target(name)
            | Self::JobState(name)
            | Self::Pin(name)
            | Self::Rollout(name) => Some(Subject::Unit(name.clone())),
            Self::State(name, id) => Some(Subject::State(name.clone(), id.clone())),
            Self::EngineLeader => Some(Subject::Lease),
            Self::EngineVersion => Some(Subject::EngineVersion),
            Self::Unit(_) | Self::LegacyState(_) | Self::FenceKey => None,
        }
    }
}
