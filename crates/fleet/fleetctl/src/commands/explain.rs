//! `explain`: explains the placement of a unit.

use command_line::ParsedArgs;
use fleet_api::additions::{Explanation, Verdict};
use fleet_client::Error as ApiError;
use serde_json::json;

use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::error::Error;
use crate::failure::Failure;
use crate::legend::short_id;
use crate::lookup::single_unit_name;
use crate::session::Session;
use crate::stdout::print;
use crate::table;

pub const COMMAND: Command = Command {
    name: "explain",
    arguments: "UNIT",
    summary: "explain why a unit is scheduled to its machine, or to none",
    description: &[
        "Prints for each machine whether it is eligible, its load, and the requirements that it does not meet.",
    ],
    flags: &[FULL, JSON],
    examples: &[("fleetctl explain web@5.service", "find out why a unit is not scheduled")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// A failed request to an extension of the API, which the original fleetd lacks.
pub fn request_failure(verb: &str, error: Error) -> Failure {
    match error {
        Error::Api(error) if error.is_unknown_path() => {
            Failure::new(format!("the server does not support {verb}: it is not Keelson's fleetd"))
        }
        Error::Api(ApiError::Refused { message, .. }) => Failure::new(format!("Error: {verb}: {message}")),
        other => Failure::new(format!("Error: {verb}: {other}")),
    }
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let name = single_unit_name(args, "One unit must be provided")?;
    let registry = session.registry().await?;
    let explanation = registry.explain(&name).await.map_err(|error| request_failure("explain", error))?;
    if args.is_set(JSON.name()) {
        return print(&format!("{}\n", json!(explanation)));
    }
    print(&render(&explanation, args.is_set(FULL.name())))
}

fn render(explanation: &Explanation, full: bool) -> String {
    let header = ["MACHINE", "ELIGIBLE", "LOAD", "REASON"].map(str::to_owned).to_vec();
    let row = |verdict: &Verdict| {
        vec![
            short_id(&verdict.machine_id, full),
            if verdict.eligible { "yes" } else { "no" }.to_owned(),
            verdict.load.to_string(),
            match (verdict.machine_id == explanation.machine_id, verdict.reasons.is_empty()) {
                (true, true) => "it is here".to_owned(),
                (true, false) => format!("it is here: {}", verdict.reasons.join("; ")),
                (false, true) => "-".to_owned(),
                (false, false) => verdict.reasons.join("; "),
            },
        ]
    };
    let rows: Vec<_> = std::iter::once(header).chain(explanation.machines.iter().map(row)).collect();
    let mut text = format!("{}\n\n{}", explanation.summary, table::render(&rows));
    for (index, hint) in explanation.hints.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        text.push_str(&format!("{gap}hint: {hint}\n"));
    }
    text
}
