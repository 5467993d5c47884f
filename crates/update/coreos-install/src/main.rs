//! `coreos-install`: writes the system to a disk.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use coreos_install::{Flags, NoDevice, run};

const NAME: &str = "coreos-install";

fn main() -> ExitCode {
    // A child of this program, for transfers.
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == update_worker::WORKER_NAME) {
        let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        return update_worker::run(&arguments);
    }
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // Nothing else can be done if this fails.
            drop(error.print());
            // The original's code for a usage error.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in service::error::chain(error.as_ref()).lines() {
                eprintln!("{NAME}: {line}");
            }
            if error.is::<NoDevice>() {
                eprint!("{}", Flags::command().render_help());
            }
            ExitCode::FAILURE
        }
    }
}
