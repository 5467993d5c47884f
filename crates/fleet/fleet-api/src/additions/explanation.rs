//! Why a unit is where it is, or nowhere.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// It stays as it is until somebody changes the unit or a machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
    /// What would have to change for it to run, one sentence each; empty where it has a machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Every machine that is known, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Verdict>,
    pub name: String,
    /// The outcome in one sentence.
    pub summary: String,
}

/// What speaks for or against one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verdict {
    pub eligible: bool,
    /// Units there, or their weight; the least is taken.
    pub load: u64,
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// Why the machine is not eligible, or does not run the unit that it has, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}
