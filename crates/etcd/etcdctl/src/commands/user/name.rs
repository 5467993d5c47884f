//! The arguments of the user commands.

use command_line::{Flag, ParsedArgs, ValueKind};

use crate::failure::Failure;

pub const ROLES: Flag = Flag::new("roles", ValueKind::Text, "names of roles, separated by commas");

pub fn user(given: &ParsedArgs) -> Result<&str, Failure> {
    match given.arguments.as_slice() {
        [user] if !user.is_empty() => Ok(user),
        _ => Err(Failure::usage("Please provide a username")),
    }
}

pub fn roles(given: &ParsedArgs) -> Result<Vec<String>, Failure> {
    match given.text(ROLES.name()) {
        Some(roles) if !roles.is_empty() => Ok(roles.split(',').map(str::to_owned).collect()),
        _ => Err(Failure::usage("No roles specified; please use `-roles`")),
    }
}
