//! A program of this host on the LAN of a cluster, in a network namespace whose only connection is the LAN.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::LAN_PREFIX;
use crate::network::{namespace, tap};
use crate::process::exit_with_this_thread;

/// Hardware address of the program's interface: locally administered, and none of a node's.
const MAC: &str = "52:54:01:00:00:01";

#[derive(Debug, Clone)]
pub struct LanProgram {
    /// Socket of the program's port of the LAN.
    pub socket: PathBuf,
    pub address: Ipv4Addr,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Runs the program until it exits; returns its exit code. It is killed with this process. No other thread may run yet.
pub fn run(program: LanProgram) -> io::Result<i32> {
    let Some((file, arguments)) = program.command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    };
    namespace::enter_user_namespace()?;
    let network = namespace::create()?;
    let relay = tap::start_relay(tap::create(&network, MAC)?, program.socket)?;
    namespace::configure(&network, tap::NAME, program.address, LAN_PREFIX)?;
    let mut command = Command::new(Path::new(file));
    command.args(arguments);
    namespace::run_in(&mut command, &network);
    exit_with_this_thread(&mut command);
    let status = command.status()?;
    drop(relay);
    Ok(status.code().unwrap_or(1))
}
