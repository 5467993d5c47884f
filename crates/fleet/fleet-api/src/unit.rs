//! A unit: name, options and states.

use serde::{Deserialize, Serialize};
use unit_file::UnitFile;

/// States are strings, empty if missing: the server responds to invalid ones with its own error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unit {
    /// Empty for global units.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_state: String,
    /// A [`JobState`](crate::JobState).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub desired_state: String,
    /// The unit's machine; empty for global and unscheduled units.
    #[serde(rename = "machineID", skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    /// Full name with suffix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// In the order of the unit file.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list_or_null")]
    pub options: Vec<UnitOption>,
    /// Extension: why the unit has no machine, in one sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheduling_message: String,
}

fn list_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<UnitOption>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// One line of the unit file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitOption {
    /// Such as `ExecStart`.
    pub name: String,
    /// Such as `Service`, without brackets.
    pub section: String,
    /// Continuation lines keep their backslashes and newlines.
    pub value: String,
}

impl Unit {
    /// A request to create or change a unit.
    pub fn new(name: &str, desired_state: &str, file: Option<&UnitFile>) -> Self {
        Self {
            name: name.to_owned(),
            desired_state: desired_state.to_owned(),
            options: file.map(UnitOption::from_file).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The unit file of the options, in normalized text.
    pub fn file(&self) -> UnitFile {
        UnitFile::from_options(self.options.iter().map(UnitOption::to_file).collect())
    }
}

impl UnitOption {
    /// One per option of the file, in its order.
    pub fn from_file(file: &UnitFile) -> Vec<Self> {
        let to_option = |option: &unit_file::UnitOption| Self {
            name: option.name.clone(),
            section: option.section.clone(),
            value: option.value.clone(),
        };
        file.options().iter().map(to_option).collect()
    }

    fn to_file(&self) -> unit_file::UnitOption {
        unit_file::UnitOption {
            section: self.section.clone(),
            name: self.name.clone(),
            value: self.value.clone(),
            position: None,
        }
    }
}

/// A page of units, ordered by name. `{}` without units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitPage {
    /// Empty on the last page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
    /// The units of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
}
