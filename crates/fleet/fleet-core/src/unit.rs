//! A unit from the scheduler's view.

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
    /// The machine that it is assigned to. `None` for global units.
    pub target: Option<MachineId>,
    /// The first machine of a pinned unit.
    pub pin: Option<MachineId>,
}

impl Unit {
    pub fn new(name: UnitName, desired: JobState, requirements: Requirements) -> Self {
        Self { name, desired, requirements: Arc::new(requirements), target: None, pin: None }
    }

    /// Whether it is to be loaded or launched.
    pub fn is_desired(&self) -> bool {
        self.desired != JobState::Inactive
    }

    /// Weight in the choice of a machine. Units without resource requests weigh the same; 1 GiB of memory, or one
    /// processor, weighs as much as another unit.
    pub fn load(&self) -> u64 {
        let memory = self.requirements.memory.unwrap_or(0);
        let of_memory = memory / MEMORY_PER_UNIT_LOAD * UNIT_LOAD
            + memory % MEMORY_PER_UNIT_LOAD * UNIT_LOAD / MEMORY_PER_UNIT_LOAD;
        UNIT_LOAD.saturating_add(of_memory).saturating_add(self.requirements.cpu.unwrap_or(0))
    }
}
