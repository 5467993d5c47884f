//! `role`: manages roles.

mod add;
mod get;
mod grant;
mod list;
mod name;
mod remove;
mod revoke;

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "role",
    arguments: "",
    summary: "manage roles",
    description: &[],
    flags: &[],
    examples: &[],
    run: Run::Group(&[
        &add::COMMAND,
        &get::COMMAND,
        &list::COMMAND,
        &remove::COMMAND,
        &grant::COMMAND,
        &revoke::COMMAND,
    ]),
};
