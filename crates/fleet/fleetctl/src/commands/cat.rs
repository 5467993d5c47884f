//! `cat`: the text of a unit.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{only_name, unit};
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "cat",
    arguments: "UNIT",
    summary: "print the text of a unit, as the cluster knows it",
    description: &["Without comments and blank lines: those are not stored."],
    flags: &[],
    examples: &[("fleetctl cat hello.service", "what runs may differ from the file")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let name = only_name(given, "One unit file must be provided")?;
    match unit(&session.registry().await?, &name).await? {
        Some(unit) => say(&unit.file().normalised()),
        None => Err(Failure::new(format!("Unit {name} not found"))),
    }
}
