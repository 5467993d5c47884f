//! `ssh`: a shell on a machine, or a command run there.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Machine;
use ssh_client::{Address, What};
use unit_file::unit_name_from_argument;

use crate::access::told;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, unit};
use crate::registry::Registry;
use crate::remote::{SSH_PORT, connect, ended, machines, port};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "ssh",
    arguments: "MACHINE|UNIT [COMMAND...]",
    summary: "open a shell on a machine, or run a command there",
    description: &[
        "MACHINE is the beginning of a machine's id; with a unit, it is the machine that runs it.",
        "What follows is the command; the exit code is its own, or 255 where the connection fails.",
    ],
    flags: &[
        Flag::switch("forward-agent,A", "let the other side use our SSH agent"),
        Flag::new("machine", ValueKind::Text, "the machine, by the beginning of its id"),
        Flag::new("unit", ValueKind::Text, "the machine that runs this unit"),
        SSH_PORT,
    ],
    examples: &[
        ("fleetctl ssh 113f16a7", "a shell there"),
        ("fleetctl ssh hello cat /etc/environment", "where hello.service runs"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

fn unable(cause: &str) -> Failure {
    Failure::new(format!("Unable to proceed: {cause}"))
}

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let by_machine = given.text("machine").filter(|text| !text.is_empty());
    let by_unit = given.text("unit").filter(|text| !text.is_empty());
    let registry = session.registry().await?;
    let (address, words) = match (by_machine, by_unit, given.arguments.split_first()) {
        (Some(_), Some(_), _) => {
            return Err(Failure::new("Both machine and unit flags provided, please specify only one."));
        }
        (Some(prefix), None, _) => {
            let found = of_machine(&machines(&registry).await?, prefix)?;
            (found.ok_or_else(|| unable("machine does not exist"))?, &given.arguments[..])
        }
        (None, Some(name), _) => {
            let found = of_unit(&registry, name).await?;
            (found.ok_or_else(|| unable("unit does not exist"))?, &given.arguments[..])
        }
        (None, None, Some((place, words))) => (of_either(&registry, place).await?, words),
        (None, None, None) => return Err(unable("one machine or unit must be provided")),
    };
    if address.is_empty() {
        return Err(Failure::new("Could not determine address of machine."));
    }
    let (address, forward_agent) = (Address::new(&address, port(given)?), given.is_set("forward-agent"));
    let connection = connect(session, &address, forward_agent, "Failed building SSH client: ").await?;
    let words = words.strip_prefix(&["--".to_owned()]).unwrap_or(words);
    let command = words.join(" ");
    let what = if words.is_empty() { What::Shell } else { What::Command(&command) };
    let ran = connection.run(what).await;
    ended(ran.map_err(|error| Failure::connection(told("Failed running command: ", &error)))?)
}

/// The address of the only machine whose id begins so; `None` where there is none.
fn of_machine(machines: &[Machine], prefix: &str) -> Result<Option<String>, Failure> {
    let mut found = machines.iter().filter(|machine| machine.id.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(unable("found more than one machine")),
        (one, _) => Ok(one.map(|machine| machine.primary_ip.clone())),
    }
}

/// The address of the unit's machine, empty where that is not known; `None` where there is no such unit.
async fn of_unit(registry: &Registry, name: &str) -> Result<Option<String>, Failure> {
    let Some(unit) = unit(registry, &unit_name_from_argument(name)).await? else { return Ok(None) };
    if is_global(&unit) {
        return Err(unable("global units unsupported"));
    }
    let machines = machines(registry).await?;
    let machine = machines.into_iter().find(|machine| machine.id == unit.machine_id);
    Ok(Some(machine.map(|machine| machine.primary_ip).unwrap_or_default()))
}

async fn of_either(registry: &Registry, place: &str) -> Result<String, Failure> {
    let by_machine = of_machine(&machines(registry).await?, place)?;
    match (by_machine, of_unit(registry, place).await?) {
        (Some(_), Some(_)) => Err(unable(&format!(
            "ambiguous argument, both machine and unit found for `{place}`, please use --machine or --unit"
        ))),
        (Some(address), None) | (None, Some(address)) => Ok(address),
        (None, None) => Err(unable("could not find matching unit or machine")),
    }
}
