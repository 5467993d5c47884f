//! The commands, one module each, in the order of the help page.

mod cat;
mod completion;
mod cordon;
mod destroy;
mod drain;
mod explain;
mod fd_forward;
mod help;
mod journal;
mod list_machines;
mod list_unit_files;
mod list_units;
mod load;
mod plan;
mod rebalance;
mod restart;
mod ssh;
mod start;
mod status;
mod stop;
mod submit;
mod uncordon;
mod unload;
mod verify;
mod version;

use crate::command::Command;

pub const COMMANDS: [&Command; 25] = [
    &cat::COMMAND,
    &destroy::COMMAND,
    &fd_forward::COMMAND,
    &help::COMMAND,
    &journal::COMMAND,
    &list_machines::COMMAND,
    &list_unit_files::COMMAND,
    &list_units::COMMAND,
    &load::COMMAND,
    &restart::COMMAND,
    &ssh::COMMAND,
    &start::COMMAND,
    &status::COMMAND,
    &stop::COMMAND,
    &submit::COMMAND,
    &unload::COMMAND,
    &verify::COMMAND,
    &version::COMMAND,
    // Not in the original.
    &completion::COMMAND,
    &cordon::COMMAND,
    &drain::COMMAND,
    &explain::COMMAND,
    &plan::COMMAND,
    &rebalance::COMMAND,
    &uncordon::COMMAND,
];
