//! `status`: what systemctl says of units, on the machines that have them.

use std::io::IsTerminal as _;

use command_line::ParsedArgs;
use fleet_api::Unit;

use crate::access::has_keys;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, names, unit};
use crate::reason::failure;
use crate::registry::Registry;
use crate::remote::{SSH_PORT, ended, is_here, output};
use crate::session::Session;
use crate::stdout::say;
use crate::tunnel::quoted;

pub const COMMAND: Command = Command {
    name: "status",
    arguments: "UNIT...",
    summary: "show what systemctl says of units, wherever they are",
    description: &[
        "Of a global unit: on every machine that has it. Ends with systemctl's exit code, 3 for inactive.",
        "Units of other machines are asked for over SSH: with an agent (ssh -A), or --ssh-identity-file.",
    ],
    flags: &[SSH_PORT],
    examples: &[("fleetctl status hello.service", "with the last lines of its journal")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let mut first = true;
    for name in names(given) {
        let Some(unit) = unit(&registry, &name).await? else {
            return Err(Failure::new(format!("Unit {name} does not exist.")));
        };
        let machines = match machines_of(&registry, &unit).await? {
            found if found.is_empty() => {
                let said = format!("Unit {} does not appear to be loaded.", unit.name);
                return Err(failure(&registry, &unit, said).await);
            }
            found => found,
        };
        for machine in machines {
            if !first {
                say("\n")?;
            }
            first = false;
            ended(show(session, &registry, given, &name, &machine).await?)?;
        }
    }
    Ok(())
}

/// Empty where it is on none.
async fn machines_of(registry: &Registry, unit: &Unit) -> Result<Vec<String>, Failure> {
    let name = &unit.name;
    if !is_global(unit) {
        let there = unit.current_state != "inactive" && !unit.machine_id.is_empty();
        return Ok(if there { vec![unit.machine_id.clone()] } else { Vec::new() });
    }
    let states = registry.states_of(name).await;
    let states =
        states.map_err(|error| Failure::new(format!("Error retrieving states of unit {name}: {error}")))?;
    Ok(states.into_iter().map(|state| state.machine_id).collect())
}

async fn show(
    session: &Session,
    registry: &Registry,
    given: &ParsedArgs,
    name: &str,
    machine: &str,
) -> Result<u8, Failure> {
    if !is_here(machine)
        && !has_keys(&session.global.ssh)
        && let Ok(report) = registry.status(name, machine).await
        && let Some(status) = report.statuses.first()
    {
        say(&status.output)?;
        return Ok(status.exit_code);
    }
    let (code, output) = output(session, registry, given, machine, &script(name)).await?;
    say(&shown(name, &output))?;
    Ok(code)
}

/// The first line is what the unit's link leads to, or empty.
fn script(name: &str) -> String {
    let colours = if std::io::stdout().is_terminal() { "env SYSTEMD_COLORS=1 " } else { "" };
    let (link, name) = (quoted(&link(name)), quoted(name));
    format!("readlink {link} || echo; exec {colours}systemctl status -l {name}")
}

fn link(name: &str) -> String {
    format!("/run/systemd/system/{name}")
}

/// systemd names the file of a linked unit, as it did when fleet was new; since then it names the link.
fn shown(name: &str, output: &str) -> String {
    let (file, status) = output.split_once('\n').unwrap_or(("", output));
    if file.is_empty() {
        return status.to_owned();
    }
    status.replacen(&format!("({}; linked", link(name)), &format!("({file}; linked"), 1)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_linked_unit_is_shown_by_its_file() {
        let status =
            "● a.service - A\n     Loaded: loaded (/run/systemd/system/a.service; linked-runtime; x)\n";
        let expected =
            "● a.service - A\n     Loaded: loaded (/run/fleet/units/a.service; linked-runtime; x)\n";
        assert_eq!(shown("a.service", &format!("/run/fleet/units/a.service\n{status}")), expected);
        assert_eq!(shown("a.service", &format!("\n{status}")), status);
        assert_eq!(shown("b.service", &format!("/run/fleet/units/b.service\n{status}")), status);
    }
}
