//! `user`: manages users.

mod add;
mod get;
mod grant;
mod list;
mod name;
mod passwd;
mod remove;
mod revoke;

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "user",
    arguments: "",
    summary: "manage users",
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
        &passwd::COMMAND,
    ]),
};
