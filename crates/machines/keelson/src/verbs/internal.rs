//! Entry points of the background processes of machines; not for interactive use.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use etcd_discovery::{Settings, Store, Tokens, serve};
use tokio::net::TcpListener;

#[derive(Debug, clap::Subcommand)]
pub enum Task {
    /// Switch of a cluster's LAN
    Lan { folder: PathBuf },
    /// Supervisor of an nspawn machine
    #[command(name = "keeper")]
    Supervisor { file: PathBuf },
    /// Supervisor of a QEMU machine
    Qemu { file: PathBuf },
    /// Discovery service of a cluster
    Discovery { folder: PathBuf, port: u16 },
}

pub fn run(task: &Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Lan { folder } => match machines::lan::serve(folder)? {},
        Task::Discovery { folder, port } => {
            discovery(folder, *port).context("the discovery service failed")?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Supervisor { file } => exit_code(machines::nspawn::supervisor::run(file)),
        Task::Qemu { file } => exit_code(machines::qemu::supervisor::run(file)),
    }
}

fn exit_code(result: std::io::Result<i32>) -> anyhow::Result<ExitCode> {
    let code = result.context("cannot run the machine")?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Serves the machines of one cluster, which reach it at this host's name.
#[tokio::main(flavor = "current_thread")]
async fn discovery(folder: &Path, port: u16) -> anyhow::Result<()> {
    let tokens = Tokens::open(&folder.join("tokens"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    // Runs until it is killed, like the cluster's other background processes.
    let settings = Settings::default();
    Ok(serve(listener, Store::local(tokens), settings, std::future::pending()).await?)
}
