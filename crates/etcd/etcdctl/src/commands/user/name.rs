//! Arguments and flags shared by the user commands.

use command_line::{Flag, ParsedArgs, ValueKind};

use crate::failure::Failure;

pub const ROLES: Flag = Flag::new("roles", ValueKind::Text, "comma-separated role names");

pub fn user(args: &ParsedArgs) -> Result<&str, Failure> {
    match args.arguments.as_slice() {
        [user] if !user.is_empty() => Ok(user),
        _ => Err(Failure::usage("Please provide a username")),
    }
}

pub fn roles(args: &ParsedArgs) -> Result<Vec<String>, Failure> {
    match args.text(ROLES.name()) {
        Some(roles) if !roles.is_empty() => Ok(roles.split(',').map(str::to_owned).collect()),
        _ => Err(Failure::usage("No roles specified; please use `-roles`")),
    }
}
