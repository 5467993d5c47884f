//! `coreos-cloudinit`: reads user-data and metadata, plans, and carries the plan out.
//!
//! This file only turns arguments into a request and a result into an exit status.

mod apply;
mod datasource;
mod flags;
mod log;
mod observe;
mod private;
mod report;
mod rights;
mod run;
mod script;
mod seen;

use std::process::ExitCode;

use flags::{Task, UsageError};
use log::Log;

const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let request = match flags::parse(&arguments) {
        Ok(request) => request,
        Err(UsageError::Flag(message)) => {
            eprint!("{message}\n{}", flags::usage());
            return ExitCode::from(WRONG_USE);
        }
        Err(UsageError::Value(message)) => {
            println!("{message}");
            return ExitCode::from(WRONG_USE);
        }
    };
    let log = Log::from_environment();
    let done = match request.task {
        Task::Help => {
            eprint!("{}", flags::usage());
            return ExitCode::SUCCESS;
        }
        Task::Version => {
            println!("coreos-cloudinit {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Task::Status => run::reading(&request, &log, || report::print(&request)),
        Task::Validate { json } => run::reading(&request, &log, || run::validate(&request, json, &log)),
        Task::Convert(format) => run::reading(&request, &log, || run::convert(&request, format, &log)),
        Task::Plan => run::reading(&request, &log, || run::plan(&request, &log)),
        Task::Apply => run::apply(&request, &log),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log.error(format!("error: {}", service::error::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
