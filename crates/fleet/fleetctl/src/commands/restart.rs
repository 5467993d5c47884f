//! `restart`: stops units and starts them again, one after the other.

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::act::{Asked, Replaced, bring};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{is_global, known};
use crate::reason::failure;
use crate::registry::Registry;
use crate::remote::{SSH_PORT, run as run_there};
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, Goal, NO_BLOCK, Patience, quietly};

pub const COMMAND: Command = Command {
    name: "restart",
    arguments: "UNIT...",
    summary: "stop units and start them again, one after the other",
    description: &[
        "Each is started again before the next is stopped. A loaded unit is started.",
        "A global unit is restarted by systemctl on each machine that has it, over SSH.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, SSH_PORT],
    examples: &[("fleetctl restart web@{1..3}", "two of them run at any time")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

const ASKED: Asked = Asked { verb: "restart", state: JobState::Launched, failing: "Error restarting units" };

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for unit in known(&registry, given).await? {
        if is_global(&unit) {
            everywhere(session, &registry, given, &unit.name).await?;
        } else {
            one(&registry, given, unit).await?;
        }
    }
    Ok(())
}

async fn one(registry: &Registry, given: &ParsedArgs, mut unit: Unit) -> Result<(), Failure> {
    let name = unit.name.clone();
    if unit.current_state == JobState::Inactive.as_str() {
        let said = format!("Unable to restart unit {name} in state inactive");
        return Err(failure(registry, &unit, said).await);
    }
    if unit.current_state == JobState::Launched.as_str() {
        let stopped = registry.set_desired(&name, JobState::Loaded.as_str()).await;
        stopped.map_err(|error| Failure::new(format!("{}: {error}", ASKED.failing)))?;
        let goal = Goal { name, state: JobState::Loaded, hash: None };
        quietly(registry, vec![goal], Patience::of(given)).await?;
        unit.desired_state = JobState::Loaded.to_string();
        unit.current_state = JobState::Loaded.to_string();
    }
    bring(registry, given, ASKED, &[unit], &Replaced::new()).await
}

async fn everywhere(
    session: &Session,
    registry: &Registry,
    given: &ParsedArgs,
    name: &str,
) -> Result<(), Failure> {
    let states = registry.states_of(name).await;
    let states = states.map_err(|error| Failure::new(format!("{}: {error}", ASKED.failing)))?;
    for state in states {
        let words: &[&str] =
            match nix::unistd::Uid::effective().is_root() && crate::remote::is_here(&state.machine_id) {
                true => &["systemctl", "restart", name],
                false => &["sudo", "systemctl", "restart", name],
            };
        let code = run_there(session, registry, given, &state.machine_id, words).await?;
        if code != 0 {
            return Err(Failure {
                text: Some(format!("{}: {name} on {}: exit code {code}", ASKED.failing, state.machine_id)),
                exit: code,
            });
        }
    }
    Ok(())
}
