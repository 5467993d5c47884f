//! `coreos-cloudinit`: fetches user-data and metadata, builds a plan and applies it.
//!
//! This file maps arguments to a request, and results to exit statuses.

mod applied_hash;
mod apply;
mod datasource;
mod flags;
mod log;
mod observe;
mod prepare;
mod report;
mod rights;
mod run;
mod script;
mod state_file;

use std::process::ExitCode;

use flags::{Task, UsageError};
use log::Log;

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let request = match flags::parse(&arguments) {
        Ok(request) => request,
        Err(UsageError::Flag(message)) => {
            eprint!("{message}\n{}", flags::usage());
            return ExitCode::from(EXIT_USAGE);
        }
        Err(UsageError::Value(message)) => {
            println!("{message}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let log = Log::from_environment();
    let outcome = match request.task {
        Task::Help => {
            eprint!("{}", flags::usage());
            return ExitCode::SUCCESS;
        }
        Task::Version => {
            println!("coreos-cloudinit {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Task::Status => report::print(&request, &log),
        Task::ReportReady => run::report_ready(&request, &log),
        Task::Validate { json } => run::read_only(&request, &log, || run::validate(&request, json, &log)),
        Task::Convert(format) => run::read_only(&request, &log, || run::convert(&request, format, &log)),
        Task::Plan => run::plan(&request, &log),
        Task::Apply => run::apply(&request, &log),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log.error(format!("error: {}", service::error::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}
