//! Requirements of `[X-Fleet]`, in all spellings.
//!
//! | key | older spellings | meaning |
//! |---|---|---|
//! | `MachineID` | `X-ConditionMachineID`, `X-ConditionMachineBootID` | only on this machine |
//! | `MachineOf` | `X-ConditionMachineOf` | only on the machine of these units |
//! | `MachineMetadata` | `X-ConditionMachineMetadata` | only on machines with this metadata |
//! | `Conflicts` | `X-Conflicts` | never on the machine of a matching unit |
//! | `Replaces` | | matching units leave the machine |
//! | `Global` | | on every machine |
//!
//! Extensions, which the original ignores with a warning, are in [`additions`].

mod additions;
mod combination;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use crate::glob::Glob;

pub use additions::{SettingError, UpdatePolicy, parse_cpu, parse_memory};
pub use combination::{RequirementsConflict, check_conflicts};
pub use read::FLEET_SECTION;

/// What a unit requires of the cluster, with expanded specifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// A machine id, or its first eight characters.
    pub machine_id: Option<String>,
    /// Units that must all be on the same machine.
    pub peers: Vec<String>,
    /// Patterns of units that must not be on the same machine. Without duplicates.
    pub conflicts: Vec<Glob>,
    /// Patterns of units that must leave this unit's machine. Without duplicates.
    pub replaces: Vec<Glob>,
    /// For each key, one of the values.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// On every eligible machine.
    pub global: bool,
    /// Expected memory use in bytes.
    pub memory: Option<u64>,
    /// Expected CPU use in thousandths of a processor.
    pub cpu: Option<u64>,
    /// How a running unit gets a new version.
    pub update: UpdatePolicy,
    /// Stays on its first machine, also while that is unreachable: its data is there.
    pub pinned: bool,
    /// When moved deliberately, the new unit may start before the old one has stopped.
    pub overlap: bool,
    /// Whether a machine that cannot reach the store stops it, so that it never runs twice.
    pub stop_on_partition: bool,
}

impl Requirements {
    /// Whether the unit keeps running on a partitioned machine: it is never taken over, or may run twice.
    pub fn outlasts_partition(&self) -> bool {
        self.global || !self.stop_on_partition
    }
}

impl Default for Requirements {
    /// No requirements: on any machine.
    fn default() -> Self {
        Self {
            machine_id: None,
            peers: Vec::new(),
            conflicts: Vec::new(),
            replaces: Vec::new(),
            metadata: BTreeMap::new(),
            global: false,
            memory: None,
            cpu: None,
            update: UpdatePolicy::default(),
            pinned: false,
            overlap: false,
            stop_on_partition: true,
        }
    }
}
