//! Tasks of a scheduling pass with their reasons.

use std::fmt;

use unit_file::UnitName;

use crate::job_state::JobState;
use crate::machine::MachineId;
use crate::schedule::eligibility::Obstacle;

/// A step of the engine. Each is a compare-and-swap of the unit's target, so that it fails if the facts have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Remove the target if it is `machine`.
    Unschedule { unit: UnitName, machine: MachineId, reason: Reason },
    /// Set the target if there is none. With `pin`, write the pin first.
    Schedule { unit: UnitName, machine: MachineId, reason: Reason, pin: bool },
    /// Replace the target: the unit may overlap.
    Move { unit: UnitName, from: MachineId, to: MachineId, reason: Reason },
}

impl Task {
    pub fn unit(&self) -> &UnitName {
        match self {
            Self::Unschedule { unit, .. } | Self::Schedule { unit, .. } | Self::Move { unit, .. } => unit,
        }
    }

    pub fn reason(&self) -> &Reason {
        match self {
            Self::Unschedule { reason, .. } | Self::Schedule { reason, .. } | Self::Move { reason, .. } => {
                reason
            }
        }
    }
}

/// Texts are the original's where they exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Inactive,
    /// Global units have no target.
    Global,
    MachineFailed(MachineId),
    Unable(MachineId, Box<Obstacle>),
    /// Another unit on the machine replaces it.
    Replaced(UnitName),
    Draining(MachineId),
    /// The machine could not load or start it, and another one may.
    Refused(MachineId),
    NotScheduled(JobState),
    Rebalance,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive => f.write_str("target state inactive"),
            Self::Global => f.write_str("unit is global"),
            Self::MachineFailed(machine) => write!(f, "target Machine({machine}) went away"),
            Self::Unable(machine, obstacle) => {
                write!(f, "target Machine({machine}) unable to run unit: {obstacle}")
            }
            Self::Replaced(by) => write!(f, "Unit({by}) replaces it"),
            Self::Draining(machine) => write!(f, "Machine({machine}) is being drained"),
            Self::Refused(machine) => write!(f, "Machine({machine}) cannot run it"),
            Self::NotScheduled(state) => write!(f, "target state {state} and unit not scheduled"),
            Self::Rebalance => f.write_str("a less loaded machine is eligible"),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedule { unit, machine, reason } => {
                write!(f, "unschedule {unit} from {machine}: {reason}")
            }
            Self::Schedule { unit, machine, reason, pin } => {
                let pinned = if *pin { " and pin it" } else { "" };
                write!(f, "schedule {unit} to {machine}{pinned}: {reason}")
            }
            Self::Move { unit, from, to, reason } => write!(f, "move {unit} from {from} to {to}: {reason}"),
        }
    }
}
