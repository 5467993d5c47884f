//! systemd's state of a unit on a machine.

use serde::{Deserialize, Serialize};

use crate::additions::Refusal;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    /// Hash of the machine's unit file, 40 hex digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Extension: why the machine does not load or start the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_active_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_load_state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_sub_state: String,
}

/// A page of states, ordered by unit, then machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatePage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<UnitState>,
}
