//! systemd's state of a unit on a machine.

use serde::{Deserialize, Serialize};

use crate::additions::Refusal;

/// Schema `UnitState` of the original: a unit on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    /// Hash of the machine's unit file, 40 hex digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    /// The machine that published the state.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// The unit's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Extension: why the machine does not load or start the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// systemd's ActiveState.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_active_state: String,
    /// systemd's LoadState.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_load_state: String,
    /// systemd's SubState.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub systemd_sub_state: String,
}

/// A page of states, ordered by unit, then machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitStatePage {
    /// Empty on the last page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
    /// The states of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<UnitState>,
}
