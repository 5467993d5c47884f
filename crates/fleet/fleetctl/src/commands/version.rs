//! `version`: prints the version.

use crate::command::{Command, Run};

pub const COMMAND: Command = Command {
    name: "version",
    arguments: "",
    summary: "print the version",
    description: &[],
    flags: &[],
    examples: &[("fleetctl version", "same as fleetctl --version")],
    run: Run::Version,
};
