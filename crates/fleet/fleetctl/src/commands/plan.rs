//! `plan`: prints what starting units would change.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Unit;
use fleet_api::additions::{Plan, PlanRequest, Step};
use serde_json::json;
use unit_file::{UnitName, unit_name_from_argument};

use super::explain::request_failure;
use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::session::Session;
use crate::source::{creation_failure, find_source, local_source};
use crate::stdout::print;
use crate::table;

pub const COMMAND: Command = Command {
    name: "plan",
    arguments: "FILE...",
    summary: "preview the changes of start --replace",
    description: &[
        "Prints the units that would be created, replaced, scheduled or moved, without changing anything.",
    ],
    flags: &[
        Flag::new(
            "state",
            ValueKind::OneOf(&["inactive", "loaded", "launched"]),
            "desired state to plan for",
        )
        .default("launched"),
        FULL,
        JSON,
    ],
    examples: &[("fleetctl plan web@{1..6}", "preview the placement of new units")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    if args.arguments.is_empty() {
        return Err(Failure::warning("No units given"));
    }
    let state = args.text_or_default("state");
    state.parse::<fleet_api::JobState>().map_err(|error| Failure::usage(error.to_string()))?;
    let registry = session.registry().await?;
    let mut units = Vec::new();
    for argument in &args.arguments {
        let name = UnitName::parse(&unit_name_from_argument(argument)).map_err(creation_failure)?;
        let file = match local_source(argument, &name)? {
            Some(source) => source.file,
            None => match registry.unit(name.as_str()).await.map_err(creation_failure)? {
                Some(unit) => unit.file(),
                None => find_source(&registry, argument, &name).await?.file,
            },
        };
        units.push(Unit::new(name.as_str(), state, Some(&file)));
    }
    let plan = registry.plan(&PlanRequest { units }).await.map_err(|error| request_failure("plan", error))?;
    print_plan(&plan, args)
}

/// Prints a table, or JSON.
pub fn print_plan(plan: &Plan, args: &ParsedArgs) -> Result<(), Failure> {
    if args.is_set(JSON.name()) {
        return print(&format!("{}\n", json!(plan)));
    }
    if plan.steps.is_empty() {
        return print("Nothing to do.\n");
    }
    let full = args.is_set(FULL.name());
    let machine = |id: &str| if id.is_empty() { "-".to_owned() } else { short_id(id, full) };
    let row = |step: &Step| {
        vec![
            step.action.clone(),
            step.name.clone(),
            machine(&step.from),
            machine(&step.to),
            step.reason.clone(),
        ]
    };
    let header = ["ACTION", "UNIT", "FROM", "TO", "REASON"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(header).chain(plan.steps.iter().map(row)).collect();
    print(&table::render(&rows))
}
