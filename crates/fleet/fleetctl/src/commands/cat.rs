//! `cat`: prints a unit file.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::lookup::{single_unit_name, unit};
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "cat",
    arguments: "UNIT",
    summary: "print a unit file",
    description: &["Prints the unit file in the registry. Comments and blank lines are not stored."],
    flags: &[],
    examples: &[("fleetctl cat hello.service", "may differ from the local file")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let name = single_unit_name(args, "One unit file must be provided")?;
    match unit(&session.registry().await?, &name).await? {
        Some(unit) => print(&unit.file().normalised()),
        None => Err(Failure::new(format!("Unit {name} not found"))),
    }
}
