//! What a command of this program does.

use command_line::{ParsedArgs, Subcommands};
use std::future::Future;
use std::pin::Pin;

use crate::failure::Failure;
use crate::session::Session;

pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

pub type Command = command_line::Command<Run>;

#[derive(Clone, Copy)]
pub enum Run {
    /// Words below it choose.
    Group(&'static [&'static Command]),
    Does(for<'a> fn(&'a mut Session, &'a ParsedArgs) -> Running<'a>),
    Help,
    Completion,
}

impl Subcommands for Run {
    fn subcommands(&self) -> &'static [&'static Command] {
        match self {
            Run::Group(list) => list,
            Run::Does(_) | Run::Help | Run::Completion => &[],
        }
    }
}
