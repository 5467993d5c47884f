//! Command lines as data: a description of each command and flag, from which parsing, help pages and completions
//! come. For the programs whose command lines were written with Go's `flag` package and are a contract now.
//!
//! It must never print, read the environment, or know what a command does.

mod command;
mod completion;
mod duration;
mod flag;
mod given;
mod help;
mod suggestion;

pub use command::{Below, Command, Program};
pub use completion::{SHELLS, UnknownShell, script as completion};
pub use flag::{Flag, HELP, Takes};
pub use given::{BadFlag, Given, anywhere, around_arguments, before_arguments, first_argument};
pub use help::{command as command_page, program as program_page};
pub use suggestion::nearest;
