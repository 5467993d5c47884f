//! `destroy`: takes units off their machines, and forgets them.

use std::time::{Duration, Instant};

use command_line::Given;
use fleet_api::Unit;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::known;
use crate::registry::Registry;
use crate::session::Session;
use crate::stdout::say;
use crate::wait::NO_BLOCK;

/// After this time the machines that still have it are left to themselves.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

pub const COMMAND: Command = Command {
    name: "destroy",
    arguments: "UNIT...",
    summary: "stop units and forget them",
    description: &["Waits until no machine has them any more, at most 10 seconds."],
    flags: &[NO_BLOCK],
    examples: &[("fleetctl destroy hello.service", "its file stays where it is")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &Given) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let units = known(&registry, given).await?;
    let mut failures = Vec::new();
    let mut gone = Vec::new();
    for unit in &units {
        match registry.destroy(&unit.name).await {
            Ok(()) => {
                say(&format!("Destroyed {}\n", unit.name))?;
                gone.push(unit);
            }
            Err(error) => failures.push(format!("Error destroying units: {error}")),
        }
    }
    if !given.is_set(NO_BLOCK.name()) {
        wait(&registry, &gone).await;
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::new(failures.join("\n"))) }
}

async fn wait(registry: &Registry, units: &[&Unit]) {
    let end = Instant::now() + PATIENCE;
    for unit in units {
        loop {
            match registry.states_of(&unit.name).await {
                Ok(states) if states.is_empty() => break,
                _ if Instant::now() >= end => return,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
