//! `ssh`: opens a shell or runs a command on a machine.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Machine;
use ssh_client::{Address, SessionRequest};
use unit_file::unit_name_from_argument;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, unit};
use crate::registry::Registry;
use crate::remote::{SSH_PORT, connect, exit_result, machines, port};
use crate::session::Session;
use crate::ssh_settings::format_ssh_error;

pub const COMMAND: Command = Command {
    name: "ssh",
    arguments: "MACHINE|UNIT [COMMAND...]",
    summary: "open a shell or run a command on a machine",
    description: &[
        "MACHINE is a unique prefix of a machine id. UNIT selects the machine of a unit.",
        "Exits with the exit code of the command, or with 255 if the connection fails.",
    ],
    flags: &[
        Flag::switch("forward-agent,A", "forward the SSH agent to the machine"),
        Flag::new("machine", ValueKind::Text, "machine to connect to, by a prefix of its id"),
        Flag::new("unit", ValueKind::Text, "connect to the machine of this unit"),
        SSH_PORT,
    ],
    examples: &[
        ("fleetctl ssh 113f16a7", "open a shell on a machine"),
        ("fleetctl ssh hello cat /etc/environment", "run a command on the machine of hello.service"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

fn unable(cause: &str) -> Failure {
    Failure::new(format!("Unable to proceed: {cause}"))
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let by_machine = args.text("machine").filter(|text| !text.is_empty());
    let by_unit = args.text("unit").filter(|text| !text.is_empty());
    let registry = session.registry().await?;
    let (address, argv) = match (by_machine, by_unit, args.arguments.split_first()) {
        (Some(_), Some(_), _) => {
            return Err(Failure::new("Both machine and unit flags provided, please specify only one."));
        }
        (Some(prefix), None, _) => {
            let found = machine_address(&machines(&registry).await?, prefix)?;
            (found.ok_or_else(|| unable("machine does not exist"))?, &args.arguments[..])
        }
        (None, Some(name), _) => {
            let found = unit_address(&registry, name).await?;
            (found.ok_or_else(|| unable("unit does not exist"))?, &args.arguments[..])
        }
        (None, None, Some((target, argv))) => (target_address(&registry, target).await?, argv),
        (None, None, None) => return Err(unable("one machine or unit must be provided")),
    };
    if address.is_empty() {
        return Err(Failure::new("Could not determine address of machine."));
    }
    let (address, forward_agent) = (Address::new(&address, port(args)?), args.is_set("forward-agent"));
    let connection = connect(session, &address, forward_agent, "Failed building SSH client: ").await?;
    let argv = argv.strip_prefix(&["--".to_owned()]).unwrap_or(argv);
    let command = argv.join(" ");
    let request = if argv.is_empty() { SessionRequest::Shell } else { SessionRequest::Command(&command) };
    let ran = connection.run(request).await;
    exit_result(
        ran.map_err(|error| Failure::connection(format_ssh_error("Failed running command: ", &error)))?,
    )
}

/// Address of the only machine whose id has the prefix; `None` if there is no such machine.
fn machine_address(machines: &[Machine], prefix: &str) -> Result<Option<String>, Failure> {
    let mut found = machines.iter().filter(|machine| machine.id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(unable("found more than one machine")),
        (one, _) => Ok(one.map(|machine| machine.primary_ip.clone())),
    }
}

/// Address of the unit's machine, empty if unknown; `None` if there is no such unit.
async fn unit_address(registry: &Registry, name: &str) -> Result<Option<String>, Failure> {
    let Some(unit) = unit(registry, &unit_name_from_argument(name)).await? else { return Ok(None) };
    if is_global(&unit) {
        return Err(unable("global units unsupported"));
    }
    let machines = machines(registry).await?;
    let machine = machines.into_iter().find(|machine| machine.id == unit.machine_id);
    Ok(Some(machine.map(|machine| machine.primary_ip).unwrap_or_default()))
}

async fn target_address(registry: &Registry, target: &str) -> Result<String, Failure> {
    let by_machine = machine_address(&machines(registry).await?, target)?;
    match (by_machine, unit_address(registry, target).await?) {
        (Some(_), Some(_)) => Err(unable(&format!(
            "ambiguous argument, both machine and unit found for `{target}`, please use --machine or --unit"
        ))),
        (Some(address), None) | (None, Some(address)) => Ok(address),
        (None, None) => Err(unable("could not find matching unit or machine")),
    }
}
