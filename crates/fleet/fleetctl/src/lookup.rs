//! Looks up the units that arguments name.

use command_line::ParsedArgs;
use fleet_api::Unit;
use unit_file::{Requirements, unit_name_from_argument};

use crate::failure::Failure;
use crate::registry::Registry;

/// The unit names of the arguments, without duplicates.
pub fn unit_names(args: &ParsedArgs) -> Vec<String> {
    let mut unit_names: Vec<String> = Vec::new();
    for argument in &args.arguments {
        let name = unit_name_from_argument(argument);
        if !unit_names.contains(&name) {
            unit_names.push(name);
        }
    }
    unit_names
}

/// The named units that exist. If none does, the command prints a message and exits with 0.
pub async fn existing_units(registry: &Registry, args: &ParsedArgs) -> Result<Vec<Unit>, Failure> {
    let unit_names = unit_names(args);
    let units = units(registry, &unit_names).await?;
    if units.is_empty() && !unit_names.is_empty() {
        return Err(Failure::warning("Units not found in registry"));
    }
    if unit_names.is_empty() {
        return Err(Failure::warning("No units given"));
    }
    Ok(units)
}

pub async fn units(registry: &Registry, unit_names: &[String]) -> Result<Vec<Unit>, Failure> {
    let unit_names: Vec<&str> = unit_names.iter().map(String::as_str).collect();
    registry
        .units_named(&unit_names)
        .await
        .map_err(|error| Failure::new(format!("Error retrieving list of units from repository: {error}")))
}

pub async fn unit(registry: &Registry, name: &str) -> Result<Option<Unit>, Failure> {
    registry
        .unit(name)
        .await
        .map_err(|error| Failure::new(format!("Error retrieving Unit({name}) from Registry: {error}")))
}

/// Whether the unit runs on every eligible machine.
pub fn is_global(unit: &Unit) -> bool {
    Requirements::read_unexpanded(&unit.file()).global
}

/// The unit name of the only argument; fails with `message` otherwise.
pub fn single_unit_name(args: &ParsedArgs, message: &str) -> Result<String, Failure> {
    match &args.arguments[..] {
        [one] => Ok(unit_name_from_argument(one)),
        _ => Err(Failure::new(message)),
    }
}
