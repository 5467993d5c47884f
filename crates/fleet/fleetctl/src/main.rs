//! `fleetctl`: the command line of the cluster manager.
//!
//! This file only turns the arguments of the process into words and a failure into an exit code.

mod access;
mod act;
mod answer;
mod columns;
mod command;
mod commands;
mod create;
mod failure;
mod global;
mod keys;
mod legend;
mod lists;
mod lookup;
mod notices;
mod reason;
mod registry;
mod remote;
mod run;
mod session;
mod source;
mod stdout;
mod table;
mod tunnel;
mod version;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(other) => {
                eprintln!("the argument {other:?} is not UTF-8");
                return ExitCode::from(2);
            }
        }
    }
    match run::run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit)
        }
    }
}
