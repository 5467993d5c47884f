//! Commands on machines of the cluster: here, or over SSH.

use std::process::{Command, ExitStatus, Stdio};

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Machine;
use ssh_client::{Address, Connection, What};

use crate::access::{settings, told};
use crate::failure::Failure;
use crate::registry::Registry;
use crate::session::Session;
use crate::tunnel::quoted;

pub const SSH_PORT: Flag =
    Flag::new("ssh-port", ValueKind::Number, "where the machines' SSH servers listen").default("22");

const PREFIX: &str = "Unable to SSH to remote host: ";
const MACHINE_ID: &str = "/etc/machine-id";
const DEFAULT_PORT: u16 = 22;

pub fn port(given: &ParsedArgs) -> Result<u16, Failure> {
    match given.number(SSH_PORT.name()) {
        None => Ok(DEFAULT_PORT),
        Some(port) => u16::try_from(port)
            .map_err(|_| Failure::usage(format!("invalid value \"{port}\" for flag -ssh-port: not a port"))),
    }
}

/// A connection to a machine; inside the tunnel's where there is one.
pub async fn connect(
    session: &Session,
    address: &Address,
    forward_agent: bool,
    prefix: &str,
) -> Result<Connection, Failure> {
    let settings = settings(&session.global.ssh, forward_agent);
    let opened = match session.tunnel().await? {
        Some(tunnel) => tunnel.connection().through(&settings, address).await,
        None => Connection::open(&settings, address).await,
    };
    opened.map_err(|error| Failure::new(told(prefix, &error)))
}

/// Whether it is the machine that this program runs on.
pub fn is_here(machine: &str) -> bool {
    std::fs::read_to_string(MACHINE_ID).is_ok_and(|id| !machine.is_empty() && id.trim() == machine)
}

/// Runs the words on the machine; gives the exit code.
pub async fn run(
    session: &Session,
    registry: &Registry,
    given: &ParsedArgs,
    machine: &str,
    words: &[&str],
) -> Result<u8, Failure> {
    if is_here(machine) {
        return here(words);
    }
    let connection = connected(session, registry, given, machine).await?;
    let command: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let ran = connection.run(What::Command(&command.join(" "))).await;
    ran.map_err(|error| Failure::connection(told(PREFIX, &error)))
}

/// Runs a shell's script on the machine; gives the exit code, and what it wrote.
pub async fn output(
    session: &Session,
    registry: &Registry,
    given: &ParsedArgs,
    machine: &str,
    script: &str,
) -> Result<(u8, String), Failure> {
    let (code, output) = if is_here(machine) {
        let ended = Command::new("/bin/sh").args(["-c", script]).stderr(Stdio::inherit()).output();
        let ended = ended.map_err(|error| Failure::new(format!("Error running /bin/sh: {error}")))?;
        (code_of(ended.status), ended.stdout)
    } else {
        let connection = connected(session, registry, given, machine).await?;
        let ran = connection.output(script).await;
        ran.map_err(|error| Failure::connection(told(PREFIX, &error)))?
    };
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}

async fn connected(
    session: &Session,
    registry: &Registry,
    given: &ParsedArgs,
    machine: &str,
) -> Result<Connection, Failure> {
    let found = machines(registry).await?.into_iter().find(|one| one.id == machine);
    let address = found.map(|machine| machine.primary_ip).unwrap_or_default();
    if address.is_empty() {
        return Err(Failure::connection("Unable to determine address of machine."));
    }
    connect(session, &Address::new(&address, port(given)?), false, PREFIX)
        .await
        .map_err(|failure| Failure { exit: crate::failure::NO_CONNECTION, ..failure })
}

pub async fn machines(registry: &Registry) -> Result<Vec<Machine>, Failure> {
    registry.machines().await.map_err(|cause| {
        Failure::new(format!("Error retrieving list of active machines from fleet API ({cause})"))
    })
}

fn here(words: &[&str]) -> Result<u8, Failure> {
    let Some((program, arguments)) = words.split_first() else { return Ok(0) };
    let ended = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| Failure::new(format!("Error running {program}: {error}")))?;
    Ok(code_of(ended))
}

/// Ended by a signal: as over SSH.
fn code_of(ended: ExitStatus) -> u8 {
    ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::NO_CONNECTION)
}

/// An exit code as the end of this program.
pub fn ended(code: u8) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::silent(code)) }
}
