//! Who leads: the engine's lease, and the version that an engine must have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;
use crate::registry::json;

/// The version of this engine, as the original counts.
const ENGINE_VERSION: u64 = 1;

/// What stands in the lease's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub machine: MachineId,
    /// 0 for the oldest format, which is the machine's id alone.
    pub version: u64,
}

#[derive(Serialize, Deserialize)]
struct LeaseJson {
    #[serde(rename = "MachineID")]
    machine: String,
    #[serde(rename = "Version")]
    version: u64,
}

impl Lease {
    pub fn ours(machine: MachineId) -> Self {
        Self { machine, version: ENGINE_VERSION }
    }

    pub fn encode(&self) -> String {
        json::to_string(&LeaseJson { machine: self.machine.to_string(), version: self.version })
    }

    pub fn decode(text: &str) -> Self {
        match serde_json::from_str::<LeaseJson>(text) {
            Ok(json) => Self { machine: MachineId::new(&json.machine), version: json.version },
            Err(_) => Self { machine: MachineId::new(text), version: 0 },
        }
    }
}

/// The lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFacts {
    pub lease: Lease,
    /// Its modifiedIndex: what a renewal compares with.
    pub index: u64,
    pub remaining: Duration,
}

/// What to do about the lease. Each write names what it found, so that of two only one succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseStep {
    /// Create it, where there is none.
    Acquire,
    /// Write it again over this index.
    Renew { index: u64 },
    /// Write it over this index with this TTL, and lead only after `wait`: an old engine may still believe.
    Steal { index: u64, ttl: Duration, wait: Duration },
    /// Another one leads.
    Follow { leader: MachineId },
}

impl LeaseStep {
    /// `found` is the lease as it was read, `held` the index under which this engine wrote it last. A lease in
    /// the machine's name that this process did not write is another's: of its past, or of a twin.
    pub fn decide(found: Option<&LeaseFacts>, me: &MachineId, held: Option<u64>, ttl: Duration) -> Self {
        let Some(found) = found else { return Self::Acquire };
        if found.lease.machine == *me && held == Some(found.index) {
            return Self::Renew { index: found.index };
        }
        if found.lease.version < ENGINE_VERSION {
            let wait = found.remaining;
            return Self::Steal { index: found.index, ttl: ttl.saturating_add(wait), wait };
        }
        Self::Follow { leader: found.lease.machine.clone() }
    }
}

/// What the key `engine/version` means for this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineVersion {
    Same,
    /// Write ours over what was found; `None` where there was nothing.
    Raise {
        found: Option<u64>,
    },
    /// A newer engine was here: this one must not schedule.
    StandBack,
}

impl EngineVersion {
    /// A value that is no number counts as 0.
    pub fn decide(found: Option<&str>) -> Self {
        let found = found.map(|text| text.trim().parse().unwrap_or(0));
        match found {
            Some(ENGINE_VERSION) => Self::Same,
            Some(newer) if newer > ENGINE_VERSION => Self::StandBack,
            older => Self::Raise { found: older },
        }
    }

    pub fn ours() -> String {
        ENGINE_VERSION.to_string()
    }
}
