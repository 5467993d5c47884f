//! `status`: prints `systemctl status` of units from their machines.

use std::io::IsTerminal as _;

use command_line::ParsedArgs;
use fleet_api::Unit;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, unit, unit_names};
use crate::reason::failure_with_reason;
use crate::registry::Registry;
use crate::remote::{SSH_PORT, exit_result, is_local_machine, output_on_machine};
use crate::session::Session;
use crate::ssh_settings::has_keys;
use crate::stdout::print;
use crate::tunnel::shell_quote;

pub const COMMAND: Command = Command {
    name: "status",
    arguments: "UNIT...",
    summary: "show the systemctl status of units from their machines",
    description: &[
        "Global units are shown from each of their machines. Exits with systemctl's exit code, such as 3 for inactive.",
        "Remote units are queried over SSH, which requires an agent (ssh -A) or --ssh-identity-file.",
    ],
    flags: &[SSH_PORT],
    examples: &[("fleetctl status hello.service", "includes the last lines of the journal")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let mut first = true;
    for name in unit_names(args) {
        let Some(unit) = unit(&registry, &name).await? else {
            return Err(Failure::new(format!("Unit {name} does not exist.")));
        };
        let machines = match machines_of(&registry, &unit).await? {
            found if found.is_empty() => {
                let message = format!("Unit {} does not appear to be loaded.", unit.name);
                return Err(failure_with_reason(&registry, &unit, message).await);
            }
            found => found,
        };
        for machine in machines {
            if !first {
                print("\n")?;
            }
            first = false;
            exit_result(print_status(session, &registry, args, &name, &machine).await?)?;
        }
    }
    Ok(())
}

/// Ids of the machines that have the unit loaded.
async fn machines_of(registry: &Registry, unit: &Unit) -> Result<Vec<String>, Failure> {
    let name = &unit.name;
    if !is_global(unit) {
        let is_loaded = unit.current_state != "inactive" && !unit.machine_id.is_empty();
        return Ok(if is_loaded { vec![unit.machine_id.clone()] } else { Vec::new() });
    }
    let states = registry.states_of(name).await;
    let states =
        states.map_err(|error| Failure::new(format!("Error retrieving states of unit {name}: {error}")))?;
    Ok(states.into_iter().map(|state| state.machine_id).collect())
}

async fn print_status(
    session: &Session,
    registry: &Registry,
    args: &ParsedArgs,
    name: &str,
    machine: &str,
) -> Result<u8, Failure> {
    if !is_local_machine(machine)
        && !has_keys(&session.global.ssh)
        && let Ok(report) = registry.status(name, machine).await
        && let Some(status) = report.statuses.first()
    {
        print(&status.output)?;
        return Ok(status.exit_code);
    }
    let (code, output) = output_on_machine(session, registry, args, machine, &script(name)).await?;
    print(&with_unit_file(name, &output))?;
    Ok(code)
}

/// The first line of the output is the target of the unit's symlink, or empty.
fn script(name: &str) -> String {
    let colours = if std::io::stdout().is_terminal() { "env SYSTEMD_COLORS=1 " } else { "" };
    let (link, name) = (shell_quote(&link(name)), shell_quote(name));
    format!("readlink {link} || echo; exec {colours}systemctl status -l {name}")
}

fn link(name: &str) -> String {
    format!("/run/systemd/system/{name}")
}

/// Replaces the symlink in the status by its target: the original shows the file, as older versions of systemd do.
fn with_unit_file(name: &str, output: &str) -> String {
    let (file, status) = output.split_once('\n').unwrap_or(("", output));
    if file.is_empty() {
        return status.to_owned();
    }
    status.replacen(&format!("({}; linked", link(name)), &format!("({file}; linked"), 1)
}

#[cfg(test)]
mod tests {
    use super::with_unit_file;

    #[test]
    fn status_names_the_linked_file() {
        let status =
            "● a.service - A\n     Loaded: loaded (/run/systemd/system/a.service; linked-runtime; x)\n";
        let expected =
            "● a.service - A\n     Loaded: loaded (/run/fleet/units/a.service; linked-runtime; x)\n";
        assert_eq!(with_unit_file("a.service", &format!("/run/fleet/units/a.service\n{status}")), expected);
        assert_eq!(with_unit_file("a.service", &format!("\n{status}")), status);
        assert_eq!(with_unit_file("b.service", &format!("/run/fleet/units/b.service\n{status}")), status);
    }
}
