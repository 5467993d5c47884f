//! `fleetctl`: command-line client of the cluster manager.
//!
//! This file converts process arguments to strings and a failure to an exit code.

mod columns;
mod command;
mod commands;
mod create;
mod desired_state;
mod error;
mod etcd_registry;
mod failure;
mod global;
mod legend;
mod listing;
mod lookup;
mod notices;
mod reason;
mod registry;
mod remote;
mod run;
mod session;
mod source;
mod ssh_settings;
mod stdout;
mod table;
mod tunnel;
mod version;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match command_line::utf8_arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match run::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit)
        }
    }
}
