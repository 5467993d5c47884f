//! `etcdctl`: command-line client for etcd's v2 API.
//!
//! This file converts process arguments to strings and a failure to an exit code.

mod command;
mod commands;
mod discovery;
mod failure;
mod global;
mod output;
mod password;
mod run;
mod session;
mod stdout;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(argument) => arguments.push(argument),
            Err(other) => {
                eprintln!("Error:  the argument {other:?} is not UTF-8; give such a value on standard input");
                return ExitCode::FAILURE;
            }
        }
    }
    match run::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
