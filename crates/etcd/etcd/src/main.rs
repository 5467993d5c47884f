//! `etcd`: a member of the replicated key-value store, or a proxy to one.

mod auto_tls;
mod bootstrap;
mod connection;
mod data_dir;
mod facts;
mod http_request;
#[cfg(test)]
mod http_request_tests;
mod listen;
mod logging;
mod metrics_listeners;
mod peer_port;
mod run_member;
mod run_proxy;
mod server;
mod srv;
mod tls;

use std::process::ExitCode;

use etcd_config::{CommandLineError, Task};

fn main() -> ExitCode {
    match etcd_config::read(&facts::gather()) {
        Ok(Task::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(Task::Version { reported_version }) => {
            print!("{}", version(&reported_version));
            ExitCode::SUCCESS
        }
        Ok(Task::Run { config, warnings }) => match server::run(&config, &warnings) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(CommandLineError { exit, text }) => {
            eprint!("{text}");
            ExitCode::from(exit)
        }
    }
}

/// Four lines, as expected by scripts.
fn version(reported: &str) -> String {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        "etcd Version: {reported}\nKeelson {name}: {version}\nRust Edition: 2024\nOS/Arch: {system}/{machine}\n"
    )
}
