//! The background processes of machines: not for people.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

#[derive(Debug, clap::Subcommand)]
pub enum Task {
    /// The switch of a cluster's LAN
    Lan { folder: PathBuf },
    /// The process that holds an nspawn node
    Keeper { file: PathBuf },
    /// The discovery service of a cluster
    Discovery { folder: PathBuf, port: u16 },
}

pub fn run(task: &Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Lan { folder } => match machines::lan::serve(folder)? {},
        Task::Discovery { folder, port } => {
            etcd_discovery::run(&folder.join("tokens"), *port).context("the discovery service")?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Keeper { file } => {
            let code = machines::nspawn::keeper::run(file).context("the node can not be run")?;
            Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }
}
