//! `fleetd`: the cluster manager's daemon, on every machine of the cluster.

mod backend;
mod facts;
mod fence;
mod hands;
mod life;
mod listeners;
mod machine;
mod memory;
mod peers;
mod process;
mod store;
mod verify;

use std::process::ExitCode;

use fleet_config::{Refusal, Task};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match fleet_config::read(&facts::gather(&args)) {
        Ok(Task::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Task::Fence) => ended(fence::run()),
        Ok(Task::Run { config, warnings }) => ended(life::run(&args, *config, &warnings)),
        Err(Refusal { exit, text }) => {
            eprint!("{text}");
            ExitCode::from(exit)
        }
    }
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
