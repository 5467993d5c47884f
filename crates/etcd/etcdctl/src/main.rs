//! `etcdctl`: the command line of an etcd cluster, version 2 of its API.
//!
//! This file only turns the arguments of the process into words and a failure into an exit code.

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
    let mut words = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(other) => {
                eprintln!("Error:  the argument {other:?} is not UTF-8; give such a value on standard input");
                return ExitCode::FAILURE;
            }
        }
    }
    match run::run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}
