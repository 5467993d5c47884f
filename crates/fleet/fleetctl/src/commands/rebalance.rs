//! `rebalance`: moves units from machines that have many to machines that have few.

use command_line::{Flag, ParsedArgs};

use super::explain::failed;
use super::plan::show;
use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rebalance",
    arguments: "",
    summary: "move units from machines with a great load to machines with a small one",
    description: &["It is never done without being asked for. Units that are pinned stay."],
    flags: &[Flag::switch("dry-run", "only show what would be moved"), FULL, JSON],
    examples: &[("fleetctl rebalance --dry-run", "after a machine has joined")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let plan = registry.rebalance(given.is_set("dry-run")).await;
    show(&plan.map_err(|error| failed("rebalance", error))?, given)
}
