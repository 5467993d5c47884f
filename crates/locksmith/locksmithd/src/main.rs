//! `locksmithd` and `locksmithctl`: coordinate the reboots of a cluster.
//!
//! One binary with two names; `argv[0]` selects the program.

mod ctl;
mod daemon;
mod io;
mod limits;
mod version;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = std::env::args_os();
    let program = all.next().unwrap_or_default();
    let arguments = match command_line::utf8_arguments(all) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let is_daemon = Path::new(&program).file_name().is_some_and(|name| name == "locksmithd");
    if is_daemon { daemon::main(&arguments) } else { ctl::main(&arguments) }
}
