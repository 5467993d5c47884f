//! The engine's lease and version.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;
use crate::registry::json;

/// Version of this engine in the original's numbering.
const ENGINE_VERSION: u64 = 1;

/// Value of the lease key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub machine: MachineId,
    /// 0 for the oldest format, which is the machine id alone.
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

/// The lease as read from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFacts {
    pub lease: Lease,
    /// modifiedIndex, for compare-and-swap.
    pub index: u64,
    pub remaining: Duration,
}

/// What to do with the lease. Each write compares, so that only one of several engines succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseStep {
    /// Create it if it does not exist.
    Acquire,
    /// Write it if it has this index.
    Renew { index: u64 },
    /// Write it with this TTL if it has this index, and lead only after `wait`: an old engine may still consider
    /// itself leader.
    Steal { index: u64, ttl: Duration, wait: Duration },
    /// Another engine leads.
    Follow { leader: MachineId },
}

impl LeaseStep {
    /// `held` is the index of this engine's last write. A lease with this machine's id and another index belongs to
    /// an earlier process or to a machine with the same id.
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

/// Result of comparing `engine/version` with this engine's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineVersion {
    Same,
    /// Write this engine's version. `None` if there was none.
    Raise {
        found: Option<u64>,
    },
    /// A newer engine has run: this one must not schedule.
    Incompatible,
}

impl EngineVersion {
    /// An invalid number counts as 0.
    pub fn decide(found: Option<&str>) -> Self {
        let found = found.map(|text| text.trim().parse().unwrap_or(0));
        match found {
            Some(ENGINE_VERSION) => Self::Same,
            Some(newer) if newer > ENGINE_VERSION => Self::Incompatible,
            older => Self::Raise { found: older },
        }
    }

    pub fn ours() -> String {
        ENGINE_VERSION.to_string()
    }
}
