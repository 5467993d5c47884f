//! What commands run.

use command_line::{ParsedArgs, Subcommands};

use crate::context::Context;

pub type Command = command_line::Command<Run>;
pub type Action = fn(&Context, &ParsedArgs) -> anyhow::Result<u8>;

#[derive(Clone, Copy)]
pub enum Run {
    Action(Action),
    /// Flags end at the first argument: the rest is a command line of its own.
    Leading(Action),
    /// Parses its arguments itself; flags of the program precede them.
    Pod(fn(&Context, pod::PodRequest) -> anyhow::Result<u8>),
    Group(&'static [&'static Command]),
    Help,
    Completion,
    Version,
}

impl Subcommands for Run {
    fn subcommands(&self) -> &'static [&'static Command] {
        match self {
            Self::Group(commands) => commands,
            _ => &[],
        }
    }
}
