//! The commands, one file each, in the order of the help page.

mod arguments;
mod auth;
mod backup;
mod cluster_health;
mod completion;
mod data;
mod exec_watch;
mod get;
mod help;
mod import;
mod ls;
mod member;
mod mk;
mod mkdir;
mod recover;
mod restore;
mod rm;
mod rmdir;
mod role;
mod set;
mod setdir;
mod snapshot;
mod update;
mod updatedir;
mod user;
mod watch;

use crate::command::Command;

pub const COMMANDS: [&Command; 23] = [
    &backup::COMMAND,
    &restore::COMMAND,
    &recover::COMMAND,
    &cluster_health::COMMAND,
    &mk::COMMAND,
    &mkdir::COMMAND,
    &rm::COMMAND,
    &rmdir::COMMAND,
    &get::COMMAND,
    &ls::COMMAND,
    &set::COMMAND,
    &setdir::COMMAND,
    &update::COMMAND,
    &updatedir::COMMAND,
    &watch::COMMAND,
    &exec_watch::COMMAND,
    &member::COMMAND,
    &import::COMMAND,
    &user::COMMAND,
    &role::COMMAND,
    &auth::COMMAND,
    &completion::COMMAND,
    &help::COMMAND,
];
