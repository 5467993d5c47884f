//! What a command is: the one description from which parsing, help pages and completions come.

use std::future::Future;
use std::pin::Pin;

use crate::failure::Failure;
use crate::flag::Flag;
use crate::given::Given;
use crate::session::Session;

pub type Running<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

#[derive(Clone, Copy)]
pub enum Run {
    /// Words below it choose.
    Group(&'static [&'static Command]),
    Does(for<'a> fn(&'a mut Session, &'a Given) -> Running<'a>),
    Help,
    Completion,
}

pub struct Command {
    pub name: &'static str,
    /// As in `<key> <value>`.
    pub arguments: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Lines below it; may be empty.
    pub description: &'static [&'static str],
    pub flags: &'static [Flag],
    /// What is typed, and what it is for.
    pub examples: &'static [(&'static str, &'static str)],
    pub run: Run,
}

impl Command {
    pub fn below(&self) -> &'static [&'static Command] {
        match self.run {
            Run::Group(list) => list,
            Run::Does(_) | Run::Help | Run::Completion => &[],
        }
    }
}
