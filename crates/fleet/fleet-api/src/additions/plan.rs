//! What would happen to units.

use serde::{Deserialize, Serialize};

use crate::unit::Unit;

/// As if these units were created or replaced, and their desired states set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanRequest {
    pub units: Vec<Unit>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RebalanceRequest {
    /// Changes nothing.
    pub dry_run: bool,
}

/// In the order in which it would be done. `{}` where there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// One step, as a verb with its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// `create`, `replace`, `schedule`, `move`, `unschedule`, `wait` (there is no machine for it), ...
    pub action: String,
    /// The machine that has the unit before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    pub name: String,
    pub reason: String,
    /// The machine that has it then.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}
