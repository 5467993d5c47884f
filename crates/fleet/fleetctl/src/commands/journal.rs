//! `journal`: prints a unit's journal from its machine.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Query;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, single_unit_name, unit};
use crate::registry::Registry;
use crate::remote::{SSH_PORT, exit_result, is_local_machine, run_on_machine};
use crate::session::Session;
use crate::ssh_settings::has_keys;
use crate::stdout::print_bytes;

pub const COMMAND: Command = Command {
    name: "journal",
    arguments: "UNIT",
    summary: "print the journal of a unit from its machine",
    description: &[
        "Remote journals are read over SSH, which requires an agent (ssh -A) or --ssh-identity-file.",
    ],
    flags: &[
        Flag::new("lines", ValueKind::Number, "number of recent lines to print").default("10"),
        Flag::switch("follow,f", "print new entries until interrupted"),
        Flag::new("output", ValueKind::Text, "output mode, as in journalctl --output"),
        Flag::switch("sudo", "run journalctl with sudo"),
        SSH_PORT,
    ],
    examples: &[("fleetctl journal -f --lines 20 hello.service", "follow the journal")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let name = single_unit_name(args, "One unit file must be provided.")?;
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
    let lines = args.text_or_default("lines");
    let output = args.text("output").unwrap_or_default();
    let machine = &unit.machine_id;
    if !is_local_machine(machine) && !has_keys(&session.global.ssh) {
        let query = Query::default()
            .with_some("follow", if args.is_set("follow") { "true" } else { "" })
            .with("lines", lines)
            .with_some("output", output);
        if through_api(&registry, &name, &query).await? {
            return Ok(());
        }
    }
    let mut argv = vec!["journalctl", "--unit", &name, "--no-pager", "-n", lines];
    if args.is_set("sudo") {
        argv.insert(0, "sudo");
    }
    if !output.is_empty() {
        argv.extend(["--output", output]);
    }
    if args.is_set("follow") {
        argv.push("-f");
    }
    exit_result(run_on_machine(session, &registry, args, machine, &argv).await?)
}

/// Prints the journal that the API returns. Returns false if the server lacks the request.
async fn through_api(registry: &Registry, name: &str, query: &Query) -> Result<bool, Failure> {
    let mut body = match registry.journal(name, query).await {
        Ok(body) => body,
        Err(_) => return Ok(false),
    };
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| Failure::new(format!("Error reading the journal: {error}")))?;
        print_bytes(&part)?;
    }
    Ok(true)
}
