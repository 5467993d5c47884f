//! Descriptions of commands, from which parsing, help pages and completions are generated.

use crate::flag::Flag;

pub trait Subcommands: Sized + 'static {
    fn subcommands(&self) -> &'static [&'static Command<Self>];
}

/// A command; `R` is what it runs.
pub struct Command<R> {
    pub name: &'static str,
    /// For the usage line, as in `<key> <value>`.
    pub arguments: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Additional lines in the help page; may be empty.
    pub description: &'static [&'static str],
    pub flags: &'static [Flag],
    /// Command lines and what they are for.
    pub examples: &'static [(&'static str, &'static str)],
    pub run: R,
}

impl<R: Subcommands> Command<R> {
    pub fn subcommands(&self) -> &'static [&'static Command<R>] {
        self.run.subcommands()
    }
}

pub struct Program<R: 'static> {
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Shown in the program's help page.
    pub version: &'static str,
    pub commands: &'static [&'static Command<R>],
    pub flags: &'static [Flag],
    /// Paragraphs at the end of the help page, without a trailing newline; may be empty.
    pub notes: &'static [&'static str],
}
