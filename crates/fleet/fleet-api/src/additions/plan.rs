//! Plans: what would happen to units.

use serde::{Deserialize, Serialize};

use crate::unit::Unit;

/// Units to create or replace, with their desired states.
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

/// In order of execution. `{}` without steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// A step with its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// `create`, `replace`, `schedule`, `move`, `unschedule`, `wait` (no machine is eligible), ...
    pub action: String,
    /// The machine that has the unit before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    pub name: String,
    pub reason: String,
    /// The machine that has the unit after.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}
