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
    let arguments = match command_line::utf8_arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("Error:  {error}; give such a value on standard input");
            return ExitCode::FAILURE;
        }
    };
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
