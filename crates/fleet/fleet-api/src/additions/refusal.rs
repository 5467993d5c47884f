//! Why a machine does not load or start a unit that was assigned to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Published in the unit's state while the unit has that version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// systemd's message, if there is one.
    pub cause: String,
    /// How long it lasts.
    pub scope: RefusalScope,
    /// What the machine refused.
    pub step: RefusedStep,
}

/// Where the operation would fail again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusalScope {
    /// On every machine: the unit file is at fault.
    Unit,
    /// On this machine: another one may run the unit.
    Machine,
    /// Possibly nowhere: it is retried soon. Also for unknown values of a newer fleetd.
    #[serde(other)]
    Temporary,
}

/// The operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusedStep {
    /// Writing the unit file and reloading systemd.
    Load,
    /// Starting the loaded unit.
    Start,
}

impl Refusal {
    /// Whether it persists until the unit or the machine is changed.
    pub fn lasts(&self) -> bool {
        self.scope != RefusalScope::Temporary
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            RefusedStep::Load => "load",
            RefusedStep::Start => "start",
        };
        write!(f, "the machine cannot {step} it: {}", self.cause)
    }
}
