//! `verify`: fails, as signatures are no longer supported.

use crate::command::{Command, Run};
use crate::create::signatures_unsupported;

pub const COMMAND: Command = Command {
    name: "verify",
    arguments: "UNIT",
    summary: "no longer supported: units cannot be signed",
    description: &[],
    flags: &[],
    examples: &[("fleetctl verify hello.service", "exits with 2")],
    run: Run::LocalAction(|_| Err(signatures_unsupported())),
};
