//! Command lines as data: descriptions of commands and flags, from which parsing, help pages and completions are
//! generated. For programs whose command lines must stay compatible with Go's `flag` package.
//!
//! This crate never prints, knows the environment only as an argument, and does not know what a command does.

#![warn(missing_docs)]

mod command;
mod completion;
mod flag;
mod help;
mod parsed_args;
mod setting_source;
mod suggestion;
mod utf8_arguments;

pub use command::{Command, Program, Subcommands};
pub use completion::{SHELLS, UnknownShell, script as completion};
pub use flag::{Flag, HELP, ValueKind};
pub use help::{command as command_page, program as program_page};
pub use parsed_args::{
    BadFlag, ParsedArgs, anywhere, around_arguments, before_arguments, before_arguments_or_help,
    first_argument, parse_seconds,
};
pub use setting_source::{EmptyFlag, Environment, Origin, SettingError, SettingSource};
pub use suggestion::nearest;
pub use utf8_arguments::{NotUtf8, utf8_arguments};
