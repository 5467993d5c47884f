//! Plans: what would happen to units.

use serde::{Deserialize, Serialize};

use crate::unit::Unit;

/// Units to create or replace, with their desired states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanRequest {
    /// As in `PUT /fleet/v1/units/NAME`.
    pub units: Vec<Unit>,
}

/// Body of `POST rebalance`.
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
    /// What the engine does next, if nothing else changes.
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
    /// The unit's name.
    pub name: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The machine that has the unit after.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}
