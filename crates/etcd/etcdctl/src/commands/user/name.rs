//! Arguments and flags shared by the user commands.

use command_line::{Flag, Given, Takes};

use crate::failure::Failure;

pub const ROLES: Flag = Flag::new("roles", Takes::Text, "comma-separated role names");

pub fn user(args: &Given) -> Result<&str, Failure> {
    match args.arguments.as_slice() {
        [user] if !user.is_empty() => Ok(user),
        _ => Err(Failure::usage("Please provide a username")),
    }
}

pub fn roles(args: &Given) -> Result<Vec<String>, Failure> {
    match args.text(ROLES.name()) {
        Some(roles) if !roles.is_empty() => Ok(roles.split(',').map(str::to_owned).collect()),
        _ => Err(Failure::usage("No roles specified; please use `-roles`")),
    }
}
