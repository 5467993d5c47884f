//! The action of a command.

use std::future::Future;
use std::pin::Pin;

use command_line::{Below, Given};

use super::failure::Failure;
use super::session::Session;

pub type CommandFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    Execute(for<'a> fn(&'a Session, &'a Given) -> CommandFuture<'a>),
    Help,
    Completion,
}

impl Below for Run {
    fn below(&self) -> &'static [&'static Command] {
        &[]
    }
}
