//! `rebalance`: moves units from machines with a high load to machines with a low one.

use command_line::{Flag, ParsedArgs};

use super::explain::request_failure;
use super::plan::print_plan;
use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "rebalance",
    arguments: "",
    summary: "move units from machines with a high load to machines with a low load",
    description: &[
        "The cluster never rebalances automatically. Units that are bound to their machine remain.",
    ],
    flags: &[Flag::switch("dry-run", "print the moves without executing them"), FULL, JSON],
    examples: &[("fleetctl rebalance --dry-run", "preview the moves after a machine has joined")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let registry = session.registry().await?;
    let plan = registry.rebalance(args.is_set("dry-run")).await;
    print_plan(&plan.map_err(|error| request_failure("rebalance", error))?, args)
}
