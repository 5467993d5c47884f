//! The action of a command.

use std::future::Future;
use std::pin::Pin;

use command_line::{ParsedArgs, Subcommands};

use super::failure::Failure;
use super::session::Session;

pub type CommandFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    Execute(for<'a> fn(&'a Session, &'a ParsedArgs) -> CommandFuture<'a>),
    Help,
    Completion,
}

impl Subcommands for Run {
    fn subcommands(&self) -> &'static [&'static Command] {
        &[]
    }
}
