//! What `[X-Fleet]` asks for, in all of its spellings, as one checked value.
//!
//! | key | older spellings | meaning |
//! |---|---|---|
//! | `MachineID` | `X-ConditionMachineID`, `X-ConditionMachineBootID` | only on that machine |
//! | `MachineOf` | `X-ConditionMachineOf` | only beside these units |
//! | `MachineMetadata` | `X-ConditionMachineMetadata` | only where the metadata are so |
//! | `Conflicts` | `X-Conflicts` | never beside units that match |
//! | `Replaces` | | units that match leave the machine |
//! | `Global` | | on every machine |
//!
//! Keys of our own, which the original passes over with a warning, are in [`additions`].

mod additions;
mod combination;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use crate::glob::Glob;

pub use additions::{SettingError, UpdatePolicy, parse_cpu, parse_memory};
pub use combination::{RequirementsConflict, check_conflicts};
pub use read::FLEET_SECTION;

/// What a unit asks of the cluster. Specifiers are replaced by what they stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// A machine's whole id, or its first eight characters.
    pub machine_id: Option<String>,
    /// Names of units that must be on the same machine, all of them.
    pub peers: Vec<String>,
    /// Names that must not be on the same machine. Each pattern once.
    pub conflicts: Vec<Glob>,
    /// Names that must leave the machine that this unit gets. Each pattern once.
    pub replaces: Vec<Glob>,
    /// One of the values for each of the keys.
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// On every machine that fits.
    pub global: bool,
    /// Bytes that it is expected to need.
    pub memory: Option<u64>,
    /// Thousandths of a processor that it is expected to need.
    pub cpu: Option<u64>,
    /// How a running unit gets a new text.
    pub update: UpdatePolicy,
    /// Stays on the machine that it first got, also while that is away: its data are there.
    pub pinned: bool,
    /// While it is moved on purpose, the new one may start before the old one has stopped.
    pub overlap: bool,
    /// Whether it is stopped where the store cannot be reached, so that it never runs twice.
    pub stop_on_partition: bool,
}

impl Requirements {
    /// Whether the unit runs on where its machine is cut off: no other machine takes it over, or the unit allows that.
    pub fn outlasts_partition(&self) -> bool {
        self.global || !self.stop_on_partition
    }
}

impl Default for Requirements {
    /// Of a unit without any: on any one machine.
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
