//! The command line of locksmithctl.

mod command;
mod commands;
mod failure;
mod run;
mod session;
mod stdout;

use std::process::ExitCode;

pub fn main(arguments: &[String]) -> ExitCode {
    match run::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit)
        }
    }
}
