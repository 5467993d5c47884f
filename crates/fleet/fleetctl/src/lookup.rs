//! From arguments to the units that they name.

use command_line::ParsedArgs;
use fleet_api::Unit;
use unit_file::{Requirements, unit_name_from_argument};

use crate::failure::Failure;
use crate::registry::Registry;

/// The names that the arguments mean, each once.
pub fn names(given: &ParsedArgs) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for argument in &given.arguments {
        let name = unit_name_from_argument(argument);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Those of the named units that exist; where none does, that is told and is no failure.
pub async fn known(registry: &Registry, given: &ParsedArgs) -> Result<Vec<Unit>, Failure> {
    let names = names(given);
    let units = units(registry, &names).await?;
    if units.is_empty() && !names.is_empty() {
        return Err(Failure::harmless("Units not found in registry"));
    }
    if names.is_empty() {
        return Err(Failure::harmless("No units given"));
    }
    Ok(units)
}

pub async fn units(registry: &Registry, names: &[String]) -> Result<Vec<Unit>, Failure> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    registry
        .units_named(&names)
        .await
        .map_err(|error| Failure::new(format!("Error retrieving list of units from repository: {error}")))
}

pub async fn unit(registry: &Registry, name: &str) -> Result<Option<Unit>, Failure> {
    registry
        .unit(name)
        .await
        .map_err(|error| Failure::new(format!("Error retrieving Unit({name}) from Registry: {error}")))
}

/// Whether it runs on every machine that fits.
pub fn is_global(unit: &Unit) -> bool {
    Requirements::read_unexpanded(&unit.file()).global
}

/// The only argument, as a unit's name; else `complaint`.
pub fn only_name(given: &ParsedArgs, complaint: &str) -> Result<String, Failure> {
    match &given.arguments[..] {
        [one] => Ok(unit_name_from_argument(one)),
        _ => Err(Failure::new(complaint)),
    }
}
