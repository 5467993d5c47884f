//! Runs commands on machines of the cluster: locally, or over SSH.

use std::process::{Command, ExitStatus, Stdio};

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Machine;
use ssh_client::{Address, Connection, SessionRequest};

use crate::failure::Failure;
use crate::registry::Registry;
use crate::session::Session;
use crate::ssh_settings::{format_ssh_error, settings};
use crate::tunnel::shell_quote;

pub const SSH_PORT: Flag =
    Flag::new("ssh-port", ValueKind::Number, "port of the SSH servers of the machines").default("22");

const PREFIX: &str = "Unable to SSH to remote host: ";
const MACHINE_ID: &str = "/etc/machine-id";

pub fn port(args: &ParsedArgs) -> Result<u16, Failure> {
    let port = args.number_or_default(SSH_PORT.name());
    u16::try_from(port)
        .map_err(|_| Failure::usage(format!("invalid value \"{port}\" for flag -ssh-port: not a port")))
}

/// Connects to a machine, through the tunnel if one is configured.
pub async fn connect(
    session: &Session,
    address: &Address,
    forward_agent: bool,
    prefix: &str,
) -> Result<Connection, Failure> {
    let settings = settings(&session.global.ssh, forward_agent);
    let opened = match session.tunnel().await? {
        Some(tunnel) => tunnel.connection().open_through(&settings, address).await,
        None => Connection::open(&settings, address).await,
    };
    opened.map_err(|error| Failure::new(format_ssh_error(prefix, &error)))
}

/// Whether `machine` is the id of the local machine.
pub fn is_local_machine(machine: &str) -> bool {
    std::fs::read_to_string(MACHINE_ID).is_ok_and(|id| !machine.is_empty() && id.trim() == machine)
}

/// Runs a program with arguments on the machine; returns its exit code.
pub async fn run_on_machine(
    session: &Session,
    registry: &Registry,
    args: &ParsedArgs,
    machine: &str,
    argv: &[&str],
) -> Result<u8, Failure> {
    if is_local_machine(machine) {
        return run_locally(argv);
    }
    let connection = connect_to_machine(session, registry, args, machine).await?;
    let command: Vec<String> = argv.iter().map(|argument| shell_quote(argument)).collect();
    let ran = connection.run(SessionRequest::Command(&command.join(" "))).await;
    ran.map_err(|error| Failure::connection(format_ssh_error(PREFIX, &error)))
}

/// Runs a shell script on the machine; returns its exit code and standard output.
pub async fn output_on_machine(
    session: &Session,
    registry: &Registry,
    args: &ParsedArgs,
    machine: &str,
    script: &str,
) -> Result<(u8, String), Failure> {
    let (code, output) = if is_local_machine(machine) {
        let exited = Command::new("/bin/sh").args(["-c", script]).stderr(Stdio::inherit()).output();
        let exited = exited.map_err(|error| Failure::new(format!("Error running /bin/sh: {error}")))?;
        (exit_code(exited.status), exited.stdout)
    } else {
        let connection = connect_to_machine(session, registry, args, machine).await?;
        let ran = connection.output(script).await;
        ran.map_err(|error| Failure::connection(format_ssh_error(PREFIX, &error)))?
    };
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}

async fn connect_to_machine(
    session: &Session,
    registry: &Registry,
    args: &ParsedArgs,
    machine: &str,
) -> Result<Connection, Failure> {
    let found = machines(registry).await?.into_iter().find(|one| one.id == machine);
    let address = found.map(|machine| machine.primary_ip).unwrap_or_default();
    if address.is_empty() {
        return Err(Failure::connection("Unable to determine address of machine."));
    }
    connect(session, &Address::new(&address, port(args)?), false, PREFIX)
        .await
        .map_err(|failure| Failure { exit: crate::failure::EXIT_NO_CONNECTION, ..failure })
}

pub async fn machines(registry: &Registry) -> Result<Vec<Machine>, Failure> {
    registry.machines().await.map_err(|cause| {
        Failure::new(format!("Error retrieving list of active machines from fleet API ({cause})"))
    })
}

fn run_locally(argv: &[&str]) -> Result<u8, Failure> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(0) };
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| Failure::new(format!("Error running {program}: {error}")))?;
    Ok(exit_code(status))
}

/// 255 for a process that a signal ended, as over SSH.
fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::EXIT_NO_CONNECTION)
}

/// Exits with the code of a remote command.
pub fn exit_result(code: u8) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::silent(code)) }
}
