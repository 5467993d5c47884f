//! The actions that a command can have.

use std::future::Future;
use std::pin::Pin;

use command_line::{Below, Given};

use crate::failure::Failure;
use crate::session::Session;

pub type ActionFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    Action(for<'a> fn(&'a Session, &'a Given) -> ActionFuture<'a>),
    /// Needs no server and ignores the global flags.
    LocalAction(fn(&Given) -> Result<(), Failure>),
    Help,
    Completion,
    Version,
}

impl Below for Run {
    fn below(&self) -> &'static [&'static Command] {
        &[]
    }
}
