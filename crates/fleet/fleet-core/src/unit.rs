//! A unit of the cluster, as the scheduler sees it.

use std::sync::Arc;

use unit_file::{Requirements, UnitName};

use crate::job_state::JobState;
use crate::limits::{MEMORY_PER_UNIT_LOAD, UNIT_LOAD};
use crate::machine::MachineId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: UnitName,
    pub desired: JobState,
    pub requirements: Arc<Requirements>,
    /// The machine that it is assigned to. A global unit has none.
    pub target: Option<MachineId>,
    /// The machine that a pinned unit first got.
    pub pin: Option<MachineId>,
}

impl Unit {
    pub fn new(name: UnitName, desired: JobState, requirements: Requirements) -> Self {
        Self { name, desired, requirements: Arc::new(requirements), target: None, pin: None }
    }

    /// Whether it takes part in the cluster's life: it is asked for, on one machine or on all.
    pub fn is_desired(&self) -> bool {
        self.desired != JobState::Inactive
    }

    /// What it weighs in the choice of a machine. Without requests all units weigh the same; a gigabyte of
    /// memory, or a processor, weighs as much as one more unit.
    pub fn load(&self) -> u64 {
        let memory = self.requirements.memory.unwrap_or(0);
        let of_memory = memory / MEMORY_PER_UNIT_LOAD * UNIT_LOAD
            + memory % MEMORY_PER_UNIT_LOAD * UNIT_LOAD / MEMORY_PER_UNIT_LOAD;
        UNIT_LOAD.saturating_add(of_memory).saturating_add(self.requirements.cpu.unwrap_or(0))
    }
}
