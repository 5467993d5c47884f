//! `verify`: what once compared signatures.

use crate::command::{Command, Run};
use crate::create::no_signatures;

pub const COMMAND: Command = Command {
    name: "verify",
    arguments: "UNIT",
    summary: "does nothing any more: units have no signatures",
    description: &[],
    flags: &[],
    examples: &[("fleetctl verify hello.service", "ends with 2")],
    run: Run::Alone(|_| Err(no_signatures())),
};
