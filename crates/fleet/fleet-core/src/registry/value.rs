//! Values of keys, byte for byte.

use std::collections::BTreeMap;

use fleet_api::additions::{Refusal, RefusedStep};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use unit_file::UnitHash;

use crate::machine::{Capacity, MachineId};
use crate::registry::json;

/// An invalid value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the value of {path} cannot be read: {cause}")]
pub struct ValueError {
    pub path: String,
    pub cause: String,
}

/// A machine's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineObject {
    pub id: MachineId,
    /// May be empty.
    pub public_ip: String,
    pub metadata: BTreeMap<String, String>,
    pub disable_engine: bool,
    pub version: String,
}

#[derive(Serialize, Deserialize)]
struct MachineJson {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "PublicIP", default)]
    public_ip: String,
    #[serde(rename = "Metadata", default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(rename = "Capabilities", default)]
    capabilities: Option<BTreeMap<String, bool>>,
    #[serde(rename = "Version", default)]
    version: String,
}

const DISABLE_ENGINE: &str = "DISABLE_ENGINE";

impl MachineObject {
    pub fn encode(&self) -> String {
        let capabilities = [(DISABLE_ENGINE.into(), self.disable_engine), ("GRPC".into(), false)];
        json::to_string(&MachineJson {
            id: self.id.to_string(),
            public_ip: self.public_ip.clone(),
            metadata: Some(self.metadata.clone()),
            capabilities: Some(capabilities.into()),
            version: self.version.clone(),
        })
    }

    /// # Errors
    /// The cause.
    pub fn decode(text: &str) -> Result<Self, String> {
        let json: MachineJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if json.id.is_empty() {
            return Err("no ID".into());
        }
        let capabilities = json.capabilities.unwrap_or_default();
        Ok(Self {
            id: MachineId::new(&json.id),
            public_ip: json.public_ip,
            metadata: json.metadata.unwrap_or_default(),
            disable_engine: capabilities.get(DISABLE_ENGINE).copied().unwrap_or(false),
            version: json.version,
        })
    }
}

/// A unit's entry with the hash of its unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobObject {
    pub name: String,
    pub hash: UnitHash,
}

#[derive(Serialize, Deserialize)]
struct JobJson {
    #[serde(rename = "Name")]
    name: String,
    /// An array of 20 numbers.
    #[serde(rename = "UnitHash")]
    hash: [u8; 20],
}

impl JobObject {
    pub fn encode(&self) -> String {
        json::to_string(&JobJson { name: self.name.clone(), hash: self.hash.0 })
    }

    /// # Errors
    /// The cause.
    pub fn decode(text: &str) -> Result<Self, String> {
        let json: JobJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self { name: json.name, hash: UnitHash(json.hash) })
    }
}

/// A normalized unit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitObject {
    #[serde(rename = "Raw")]
    pub raw: String,
}

impl UnitObject {
    pub fn encode(&self) -> String {
        json::to_string(self)
    }

    /// # Errors
    /// The cause.
    pub fn decode(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// systemd's state of a unit on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    pub load: String,
    pub active: String,
    pub sub: String,
    pub machine: MachineId,
    pub hash: UnitHash,
    /// Extension: why the machine does not load or start the unit.
    pub refusal: Option<Refusal>,
}

/// LoadState of a unit without a file.
const NOT_FOUND: &str = "not-found";

#[derive(Serialize, Deserialize)]
struct StateJson {
    #[serde(rename = "loadState", default)]
    load: String,
    #[serde(rename = "activeState", default)]
    active: String,
    #[serde(rename = "subState", default)]
    sub: String,
    #[serde(rename = "machineState")]
    machine: MachineJson,
    #[serde(rename = "unitHash")]
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<Refusal>,
}

impl UnitState {
    pub fn encode(&self) -> String {
        json::to_string(&StateJson {
            load: self.load.clone(),
            active: self.active.clone(),
            sub: self.sub.clone(),
            machine: MachineJson {
                id: self.machine.to_string(),
                public_ip: String::new(),
                metadata: None,
                capabilities: None,
                version: String::new(),
            },
            hash: self.hash.to_string(),
            refusal: self.refusal.clone(),
        })
    }

    /// State of a removed unit that the machine refuses to take again.
    pub fn refused_elsewhere(machine: MachineId, hash: UnitHash, refusal: Refusal) -> Self {
        let (load, active, sub) = (NOT_FOUND.into(), "inactive".into(), "dead".into());
        Self { load, active, sub, machine, hash, refusal: Some(refusal) }
    }

    /// Whether the machine has the unit's file.
    pub fn is_loaded(&self) -> bool {
        let refused_at_start = |refusal: &Refusal| refusal.step == RefusedStep::Start;
        self.refusal.as_ref().is_none_or(refused_at_start) && self.load != NOT_FOUND
    }

    /// # Errors
    /// The cause. Machine and hash are required.
    pub fn decode(text: &str) -> Result<Self, String> {
        let json: StateJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if json.machine.id.is_empty() {
            return Err("no machine".into());
        }
        let hash = json.hash.parse().map_err(|error: unit_file::HashError| error.to_string())?;
        let machine = MachineId::new(&json.machine.id);
        let StateJson { load, active, sub, refusal, .. } = json;
        Ok(Self { load, active, sub, machine, hash, refusal })
    }
}

/// Extension: machines that may run the new version of a global unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub hash: UnitHash,
    pub machines: Vec<MachineId>,
}

#[derive(Serialize, Deserialize)]
struct RolloutJson {
    #[serde(rename = "Hash")]
    hash: String,
    #[serde(rename = "Machines")]
    machines: Vec<String>,
}

impl Rollout {
    pub fn encode(&self) -> String {
        let machines = self.machines.iter().map(ToString::to_string).collect();
        json::to_string(&RolloutJson { hash: self.hash.to_string(), machines })
    }

    /// # Errors
    /// The cause.
    pub fn decode(text: &str) -> Result<Self, String> {
        let json: RolloutJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let hash = json.hash.parse().map_err(|error: unit_file::HashError| error.to_string())?;
        Ok(Self { hash, machines: json.machines.iter().map(|id| MachineId::new(id)).collect() })
    }
}

#[derive(Serialize, Deserialize)]
struct CapacityJson {
    #[serde(rename = "Units", default)]
    units: Option<u64>,
    #[serde(rename = "Memory", default)]
    memory: Option<u64>,
    #[serde(rename = "CPU", default)]
    cpu: Option<u64>,
}

impl Capacity {
    /// Value of `machines/ID/capacity`.
    pub fn encode(&self) -> String {
        json::to_string(&CapacityJson { units: self.units, memory: self.memory, cpu: self.cpu })
    }

    /// # Errors
    /// The cause.
    pub fn decode(text: &str) -> Result<Self, String> {
        let json: CapacityJson = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self { units: json.units, memory: json.memory, cpu: json.cpu })
    }
}
