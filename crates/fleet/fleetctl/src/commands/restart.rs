//! `restart`: restarts units one after the other.

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::command::{Command, Run};
use crate::desired_state::{Replaced, StateChange, set_desired_state};
use crate::failure::Failure;
use crate::lookup::{existing_units, is_global};
use crate::reason::failure_with_reason;
use crate::registry::Registry;
use crate::remote::{SSH_PORT, run_on_machine};
use crate::session::Session;
use crate::wait::{BLOCK_ATTEMPTS, Goal, NO_BLOCK, WaitOptions, wait_quietly};

pub const COMMAND: Command = Command {
    name: "restart",
    arguments: "UNIT...",
    summary: "restart units one after the other",
    description: &[
        "Each unit is started again before the next one is stopped. Loaded units are started.",
        "Global units are restarted with systemctl over SSH on each of their machines.",
    ],
    flags: &[NO_BLOCK, BLOCK_ATTEMPTS, SSH_PORT],
    examples: &[("fleetctl restart web@{1..3}", "rolling restart of three instances")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const CHANGE: StateChange =
    StateChange { verb: "restart", state: JobState::Launched, error_prefix: "Error restarting units" };

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    for unit in existing_units(&registry, args).await? {
        if is_global(&unit) {
            restart_global(session, &registry, args, &unit.name).await?;
        } else {
            restart_one(&registry, args, unit).await?;
        }
    }
    Ok(())
}

async fn restart_one(registry: &Registry, args: &ParsedArgs, mut unit: Unit) -> Result<(), Failure> {
    let name = unit.name.clone();
    if unit.current_state == JobState::Inactive.as_str() {
        let message = format!("Unable to restart unit {name} in state inactive");
        return Err(failure_with_reason(registry, &unit, message).await);
    }
    if unit.current_state == JobState::Launched.as_str() {
        let stopped = registry.set_desired(&name, JobState::Loaded.as_str()).await;
        stopped.map_err(|error| Failure::new(format!("{}: {error}", CHANGE.error_prefix)))?;
        let goal = Goal { name, state: JobState::Loaded, hash: None };
        wait_quietly(registry, vec![goal], WaitOptions::from_args(args)).await?;
        unit.desired_state = JobState::Loaded.to_string();
        unit.current_state = JobState::Loaded.to_string();
    }
    set_desired_state(registry, args, CHANGE, &[unit], &Replaced::new()).await
}

async fn restart_global(
    session: &Session,
    registry: &Registry,
    args: &ParsedArgs,
    name: &str,
) -> Result<(), Failure> {
    let states = registry.states_of(name).await;
    let states = states.map_err(|error| Failure::new(format!("{}: {error}", CHANGE.error_prefix)))?;
    for state in states {
        let argv: &[&str] = match nix::unistd::Uid::effective().is_root()
            && crate::remote::is_local_machine(&state.machine_id)
        {
            true => &["systemctl", "restart", name],
            false => &["sudo", "systemctl", "restart", name],
        };
        let code = run_on_machine(session, registry, args, &state.machine_id, argv).await?;
        if code != 0 {
            return Err(Failure {
                text: Some(format!(
                    "{}: {name} on {}: exit code {code}",
                    CHANGE.error_prefix, state.machine_id
                )),
                exit: code,
            });
        }
    }
    Ok(())
}
