//! The actions that a command can have.

use command_line::{ParsedArgs, Subcommands};
use std::future::Future;
use std::pin::Pin;

use crate::failure::Failure;
use crate::session::Session;

pub type ActionFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    /// A command with subcommands.
    Group(&'static [&'static Command]),
    Action(for<'a> fn(&'a mut Session, &'a ParsedArgs) -> ActionFuture<'a>),
    Help,
    Completion,
}

impl Subcommands for Run {
    fn subcommands(&self) -> &'static [&'static Command] {
        match self {
            Run::Group(list) => list,
            Run::Action(_) | Run::Help | Run::Completion => &[],
        }
    }
}
