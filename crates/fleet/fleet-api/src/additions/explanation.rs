//! Explanation of a unit's placement.

use serde::{Deserialize, Serialize};

/// Response of `GET units/NAME/explanation`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// The state persists until a unit or a machine is changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// What must change for the unit to run, one sentence each; empty if it has a machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The unit's machine; empty without one.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Every known machine by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Verdict>,
    /// The unit's name.
    pub name: String,
    /// The result in one sentence.
    pub summary: String,
}

/// Eligibility of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verdict {
    /// The machine can run the unit.
    pub eligible: bool,
    /// Number of units or their weight. The least loaded machine is chosen.
    pub load: u64,
    /// Id of the machine.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// Why the machine is not eligible, or does not run its unit, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}
