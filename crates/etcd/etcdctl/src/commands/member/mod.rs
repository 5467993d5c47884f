//! `member`: manages the members of the cluster.

mod add;
mod list;
mod remove;
mod update;

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "member",
    arguments: "",
    summary: "manage the members of the cluster",
    description: &[],
    flags: &[],
    examples: &[],
    run: Run::Group(&[&list::COMMAND, &add::COMMAND, &remove::COMMAND, &update::COMMAND]),
};
