//! `explain`: why a unit is where it is, or nowhere.

use command_line::ParsedArgs;
use fleet_api::additions::{Explanation, Verdict};
use fleet_client::Error as ApiError;
use serde_json::json;

use crate::answer::Error;
use crate::columns::{FULL, JSON};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::lookup::only_name;
use crate::session::Session;
use crate::stdout::say;
use crate::table;

pub const COMMAND: Command = Command {
    name: "explain",
    arguments: "UNIT",
    summary: "say why a unit is where it is, or nowhere, and what would change it",
    description: &[
        "One line for each machine: whether it could have the unit, its load, and what is against it.",
    ],
    flags: &[FULL, JSON],
    examples: &[("fleetctl explain web@5.service", "why it has no machine")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

/// For what only our own servers can do.
pub fn failed(verb: &str, error: Error) -> Failure {
    match error {
        Error::Api(error) if error.is_unknown_path() => {
            Failure::new(format!("the server does not know {verb}: it is no Keelson fleetd"))
        }
        Error::Api(ApiError::Refused { message, .. }) => Failure::new(format!("Error: {verb}: {message}")),
        other => Failure::new(format!("Error: {verb}: {other}")),
    }
}

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let name = only_name(given, "One unit must be provided")?;
    let registry = session.registry().await?;
    let explanation = registry.explain(&name).await.map_err(|error| failed("explain", error))?;
    if given.is_set(JSON.name()) {
        return say(&format!("{}\n", json!(explanation)));
    }
    say(&text(&explanation, given.is_set(FULL.name())))
}

fn text(explanation: &Explanation, full: bool) -> String {
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
    let mut text = format!("{}\n\n{}", explanation.summary, table::lines(&rows));
    for (at, hint) in explanation.hints.iter().enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        text.push_str(&format!("{gap}hint: {hint}\n"));
    }
    text
}
