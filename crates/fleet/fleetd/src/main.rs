//! `fleetd`: the daemon of the cluster manager, which runs on every machine.

mod backend;
mod daemon;
mod facts;
mod fence;
mod listeners;
mod machine;
mod peers;
mod process;
mod state_files;
mod store;
mod systemd;
mod verify;

use std::process::ExitCode;

use fleet_config::{Command, StartupError};

fn main() -> ExitCode {
    let args = match command_line::utf8_arguments(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match fleet_config::read(&facts::gather(&args)) {
        Ok(Command::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Command::Fence) => exit_code(fence::run()),
        Ok(Command::Run { config, warnings }) => exit_code(daemon::run(&args, *config, &warnings)),
        Err(StartupError { exit, text }) => {
            eprint!("{text}");
            ExitCode::from(exit)
        }
    }
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
