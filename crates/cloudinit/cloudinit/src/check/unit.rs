//! Validates `coreos.units`: names must be safe in paths, and commands must exist.

use std::sync::Arc;

use super::name::{file_name_problem, unit_problem};
use super::refusal::Refusal;
use crate::config::Unit;
use crate::schema::is_command;

/// The directory that a unit belongs to, which depends on the daemon that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitDirectory {
    System,
    Network,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedUnit {
    pub name: String,
    pub mask: bool,
    pub enable: bool,
    pub runtime: bool,
    pub content: Option<Arc<str>>,
    pub command: Option<String>,
    pub drop_ins: Vec<CheckedDropIn>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedDropIn {
    pub name: String,
    pub content: Arc<str>,
}

impl CheckedUnit {
    pub fn directory(&self) -> UnitDirectory {
        unit_directory(&self.name)
    }
}

/// Returns the directory for a unit named `name`.
pub fn unit_directory(name: &str) -> UnitDirectory {
    let network = [".network", ".netdev", ".link"].iter().any(|suffix| name.ends_with(suffix));
    if network { UnitDirectory::Network } else { UnitDirectory::System }
}

pub(super) fn check(
    units: &[Unit],
    notes: &mut Vec<String>,
    refusals: &mut Vec<Refusal>,
) -> Vec<CheckedUnit> {
    let mut checked = Vec::new();
    for unit in units {
        let Some(name) = &unit.name else {
            notes.push(format!("Skipping unit without name (line {})", unit.location.line));
            continue;
        };
        let before = refusals.len();
        refusals.extend(unit_problem(&name.text).map(|problem| Refusal::new(name.location, problem)));
        if let Some(command) = &unit.command
            && !is_command(&command.text)
        {
            let finding = format!("invalid value {}", command.text);
            let failure = format!("Unsupported systemd command {:?}", command.text);
            refusals.push(Refusal::new(command.location, finding).with_failure(failure));
        }
        let drop_ins = drop_ins(unit, refusals);
        if refusals.len() == before {
            checked.push(CheckedUnit {
                name: name.text.to_string(),
                mask: unit.mask,
                enable: unit.enable,
                runtime: unit.runtime,
                content: unit.content.as_ref().map(|content| content.text.clone()),
                command: unit.command.as_ref().map(|command| command.text.to_string()),
                drop_ins,
            });
        }
    }
    checked
}

/// Skips drop-ins without name or content.
fn drop_ins(unit: &Unit, refusals: &mut Vec<Refusal>) -> Vec<CheckedDropIn> {
    let mut checked = Vec::new();
    for drop_in in &unit.drop_ins {
        let (Some(name), Some(content)) = (&drop_in.name, &drop_in.content) else { continue };
        match file_name_problem("drop-in", &name.text) {
            Some(problem) => refusals.push(Refusal::new(name.location, problem)),
            None => {
                checked.push(CheckedDropIn { name: name.text.to_string(), content: content.text.clone() })
            }
        }
    }
    checked
}
