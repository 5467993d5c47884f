//! `journal`: what a unit wrote, from whichever machine runs it.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Query;

use crate::access::has_keys;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, only_name, unit};
use crate::registry::Registry;
use crate::remote::{SSH_PORT, ended, is_here, run as run_there};
use crate::session::Session;
use crate::stdout::say_bytes;

pub const COMMAND: Command = Command {
    name: "journal",
    arguments: "UNIT",
    summary: "show what a unit wrote, from whichever machine runs it",
    description: &[
        "A unit of another machine is read over SSH: with an agent (ssh -A), or --ssh-identity-file.",
    ],
    flags: &[
        Flag::new("lines", ValueKind::Number, "how many of the last lines").default("10"),
        Flag::switch("follow,f", "go on as new lines come, until ctrl-C"),
        Flag::new("output", ValueKind::Text, "a mode of journalctl's --output"),
        Flag::switch("sudo", "read the journal as root"),
        SSH_PORT,
    ],
    examples: &[("fleetctl journal -f --lines 20 hello.service", "as it happens")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let name = only_name(given, "One unit file must be provided.")?;
    let registry = session.registry().await?;
    let Some(unit) = unit(&registry, &name).await? else {
        return Err(Failure::new(format!("Unit {name} does not exist.")));
    };
    if is_global(&unit) {
        return Err(Failure::new(format!("Unable to retrieve journal of global unit {name}.")));
    }
    if unit.current_state == "inactive" || unit.machine_id.is_empty() {
        return Err(Failure::new(format!("Unit {name} does not appear to be running.")));
    }
    let lines = given.text("lines").unwrap_or("10");
    let output = given.text("output").unwrap_or_default();
    let machine = &unit.machine_id;
    if !is_here(machine) && !has_keys(&session.global.ssh) {
        let query = Query::default()
            .with_some("follow", if given.is_set("follow") { "true" } else { "" })
            .with("lines", lines)
            .with_some("output", output);
        if through_api(&registry, &name, &query).await? {
            return Ok(());
        }
    }
    let mut words = vec!["journalctl", "--unit", &name, "--no-pager", "-n", lines];
    if given.is_set("sudo") {
        words.insert(0, "sudo");
    }
    if !output.is_empty() {
        words.extend(["--output", output]);
    }
    if given.is_set("follow") {
        words.push("-f");
    }
    ended(run_there(session, &registry, given, machine, &words).await?)
}

/// Whether the server can do it.
async fn through_api(registry: &Registry, name: &str, query: &Query) -> Result<bool, Failure> {
    let mut body = match registry.journal(name, query).await {
        Ok(body) => body,
        Err(_) => return Ok(false),
    };
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| Failure::new(format!("Error reading the journal: {error}")))?;
        say_bytes(&part)?;
    }
    Ok(true)
}
