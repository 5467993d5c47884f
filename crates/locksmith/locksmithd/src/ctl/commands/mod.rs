//! The commands, one file each, in the order of the help page.

mod completion;
mod help;
mod lock;
mod reboot;
mod send_need_reboot;
mod set_max;
mod status;
mod unlock;

use super::command::Command;

pub const COMMANDS: [&Command; 8] = [
    &help::COMMAND,
    &lock::COMMAND,
    &reboot::COMMAND,
    &send_need_reboot::COMMAND,
    &set_max::COMMAND,
    &status::COMMAND,
    &unlock::COMMAND,
    &completion::COMMAND,
];
