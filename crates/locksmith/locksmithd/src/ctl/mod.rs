//! locksmithctl: the command line of the lock.

mod command;
mod commands;
mod failure;
mod run;
mod session;
mod stdout;

use std::process::ExitCode;

pub fn main(words: &[String]) -> ExitCode {
    match run::run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text {
                eprintln!("{text}");
            }
            ExitCode::from(failure.exit)
        }
    }
}
