//! The actions that a command can have.

use command_line::{Below, Given};
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
    Action(for<'a> fn(&'a mut Session, &'a Given) -> ActionFuture<'a>),
    Help,
    Completion,
}

impl Below for Run {
    fn below(&self) -> &'static [&'static Command] {
        match self {
            Run::Group(list) => list,
            Run::Action(_) | Run::Help | Run::Completion => &[],
        }
    }
}
