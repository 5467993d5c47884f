//! Output of `systemctl status` on the machines that have a unit.

use serde::{Deserialize, Serialize};

/// By machine id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusReport {
    /// One per machine that has the unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<MachineStatus>,
}

/// The output of `systemctl status` on one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// systemctl's exit code: 0 active, 3 not.
    pub exit_code: u8,
    /// Id of the machine.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// As systemctl printed it.
    pub output: String,
}
