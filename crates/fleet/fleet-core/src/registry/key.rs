//! Registry keys.

use unit_file::{UnitHash, UnitName};

use crate::machine::MachineId;

/// A key below the prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Presence, with a TTL.
    MachineObject(MachineId),
    /// Set through the API; survives the machine. An empty value removes the metadata of that name.
    MachineMetadata(MachineId, String),
    /// Extension: the instance of fleetd that wrote the presence. Same TTL.
    MachineInstance(MachineId),
    /// Extension: the machine's capacity. Same TTL.
    MachineCapacity(MachineId),
    /// Extension: `cordoned` or `draining`; survives the machine.
    MachineCordon(MachineId),
    JobObject(UnitName),
    /// The desired state.
    TargetState(UnitName),
    /// The machine that the unit is assigned to.
    Target(UnitName),
    /// The machine that claims the unit, with a TTL.
    JobState(UnitName),
    /// Extension: the first machine of a pinned unit.
    Pin(UnitName),
    /// Extension: the machines that may run the new version of a global unit.
    Rollout(UnitName),
    /// A unit file by its hash.
    Unit(UnitHash),
    /// systemd's state of the unit on one machine, with a TTL.
    State(UnitName, MachineId),
    /// The original's older form of it, written by the last machine.
    LegacyState(UnitName),
    EngineLeader,
    EngineVersion,
    /// Extension: the shared key of queries between fleetds.
    FenceKey,
}

impl Key {
    /// `None` for other keys.
    pub fn parse(path: &str) -> Option<Self> {
        let unit = |name: &str| UnitName::parse(name).ok();
        let machine = |id: &str| (!id.is_empty()).then(|| MachineId::new(id));
        match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
            ["machines", id, "object"] => machine(id).map(Self::MachineObject),
            ["machines", id, "metadata", key] => {
                machine(id).map(|id| Self::MachineMetadata(id, key.to_owned()))
            }
            ["machines", id, "instance"] => machine(id).map(Self::MachineInstance),
            ["machines", id, "capacity"] => machine(id).map(Self::MachineCapacity),
            ["machines", id, "cordon"] => machine(id).map(Self::MachineCordon),
            ["job", name, "object"] => unit(name).map(Self::JobObject),
            ["job", name, "target-state"] => unit(name).map(Self::TargetState),
            ["job", name, "target"] => unit(name).map(Self::Target),
            ["job", name, "job-state"] => unit(name).map(Self::JobState),
            ["job", name, "pin"] => unit(name).map(Self::Pin),
            ["job", name, "rollout"] => unit(name).map(Self::Rollout),
            ["unit", hash] => hash.parse().ok().map(Self::Unit),
            ["states", name, id] => unit(name).zip(machine(id)).map(|(name, id)| Self::State(name, id)),
            ["state", name] => unit(name).map(Self::LegacyState),
            ["lease", "engine-leader"] => Some(Self::EngineLeader),
            ["engine", "version"] => Some(Self::EngineVersion),
            ["fence", "key"] => Some(Self::FenceKey),
            _ => None,
        }
    }

    pub fn path(&self) -> String {
        match self {
            Self::MachineObject(id) => format!("machines/{id}/object"),
            Self::MachineMetadata(id, key) => format!("machines/{id}/metadata/{key}"),
            Self::MachineInstance(id) => format!("machines/{id}/instance"),
            Self::MachineCapacity(id) => format!("machines/{id}/capacity"),
            Self::MachineCordon(id) => format!("machines/{id}/cordon"),
            Self::JobObject(name) => format!("job/{name}/object"),
            Self::TargetState(name) => format!("job/{name}/target-state"),
            Self::Target(name) => format!("job/{name}/target"),
            Self::JobState(name) => format!("job/{name}/job-state"),
            Self::Pin(name) => format!("job/{name}/pin"),
            Self::Rollout(name) => format!("job/{name}/rollout"),
            Self::Unit(hash) => format!("unit/{hash}"),
            Self::State(name, id) => format!("states/{name}/{id}"),
            Self::LegacyState(name) => format!("state/{name}"),
            Self::EngineLeader => "lease/engine-leader".into(),
            Self::EngineVersion => "engine/version".into(),
            Self::FenceKey => "fence/key".into(),
        }
    }
}
