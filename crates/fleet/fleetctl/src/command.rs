//! The actions that a command can have.

use std::future::Future;
use std::pin::Pin;

use command_line::{ParsedArgs, Subcommands};

use crate::failure::Failure;
use crate::session::Session;

pub type ActionFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    Action(for<'a> fn(&'a Session, &'a ParsedArgs) -> ActionFuture<'a>),
    /// Needs no server and ignores the global flags.
    LocalAction(fn(&ParsedArgs) -> Result<(), Failure>),
    Help,
    Completion,
    Version,
}

impl Subcommands for Run {
    fn subcommands(&self) -> &'static [&'static Command] {
        &[]
    }
}
