//! Commands, in the order of the help page.

mod enter;
mod fetch;
mod format;
mod gc;
mod image;
mod image_copy;
mod list;
mod other;
mod pod_run;
mod removal;
mod rm;
mod selection;
mod status;
mod stop;
mod trust;

use crate::command::Command;

pub const COMMANDS: [&Command; 17] = [
    &pod_run::RUN,
    &pod_run::PREPARE,
    &pod_run::RUN_PREPARED,
    &list::COMMAND,
    &status::COMMAND,
    &enter::COMMAND,
    &stop::COMMAND,
    &rm::COMMAND,
    &gc::COMMAND,
    &pod_run::CAT_MANIFEST,
    &fetch::COMMAND,
    &image::COMMAND,
    &trust::COMMAND,
    &other::CONFIG,
    &other::VERSION,
    &other::COMPLETION,
    &other::HELP,
];
