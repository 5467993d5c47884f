//! `plan`: what starting these files would do.

use command_line::{Flag, ParsedArgs, ValueKind};
use fleet_api::Unit;
use fleet_api::additions::{Plan, PlanRequest, Step};
use serde_json::json;
use unit_file::{UnitName, unit_name_from_argument};

use super::explain::failed;
use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::session::Session;
use crate::source::{creating, local, of_new};
use crate::stdout::say;
use crate::table;

pub const COMMAND: Command = Command {
    name: "plan",
    arguments: "FILE...",
    summary: "show what starting these units with the text of their files would do",
    description: &[
        "Nothing is changed. As of `start --replace`: what is known already gets its file's text.",
    ],
    flags: &[
        Flag::new(
            "state",
            ValueKind::OneOf(&["inactive", "loaded", "launched"]),
            "what would be asked of them",
        )
        .default("launched"),
        FULL,
        JSON,
    ],
    examples: &[("fleetctl plan web@{1..6}", "where they would go, and what would have to go")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    if given.arguments.is_empty() {
        return Err(Failure::harmless("No units given"));
    }
    let state = given.text("state").unwrap_or("launched");
    state.parse::<fleet_api::JobState>().map_err(|error| Failure::usage(error.to_string()))?;
    let registry = session.registry().await?;
    let mut units = Vec::new();
    for argument in &given.arguments {
        let name = UnitName::parse(&unit_name_from_argument(argument)).map_err(creating)?;
        let file = match local(argument, &name)? {
            Some(source) => source.file,
            None => match registry.unit(name.as_str()).await.map_err(creating)? {
                Some(unit) => unit.file(),
                None => of_new(&registry, argument, &name).await?.file,
            },
        };
        units.push(Unit::new(name.as_str(), state, Some(&file)));
    }
    let plan = registry.plan(&PlanRequest { units }).await.map_err(|error| failed("plan", error))?;
    show(&plan, given)
}

/// As a table, or as JSON.
pub fn show(plan: &Plan, given: &ParsedArgs) -> Result<(), Failure> {
    if given.is_set(JSON.name()) {
        return say(&format!("{}\n", json!(plan)));
    }
    if plan.steps.is_empty() {
        return say("Nothing to do.\n");
    }
    let full = given.is_set(FULL.name());
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
    say(&table::lines(&rows))
}
