//! Why a machine does not load or start a unit that was assigned to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Published by the machine in the unit's state, for as long as the unit has that text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In systemd's words, where it has some.
    pub cause: String,
    pub scope: RefusalScope,
    pub step: RefusedStep,
}

/// Where the same would happen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusalScope {
    /// On every machine: the unit's text is at fault.
    Unit,
    /// On this machine: another one may run the unit.
    Machine,
    /// Perhaps nowhere: it is tried again soon. Also what a newer fleetd says and this one does not know.
    #[serde(other)]
    Temporary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusedStep {
    Load,
    Start,
}

impl Refusal {
    /// Whether it stands until somebody changes the unit or the machine.
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
