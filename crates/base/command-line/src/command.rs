//! Descriptions of commands, from which parsing, help pages and completions are generated.

use crate::flag::Flag;

/// What commands run, if it may be further commands.
pub trait Subcommands: Sized + 'static {
    /// Empty for a command that has none.
    fn subcommands(&self) -> &'static [&'static Command<Self>];
}

/// A command; `R` is what it runs.
pub struct Command<R> {
    /// As on the command line.
    pub name: &'static str,
    /// For the usage line, as in `<key> <value>`.
    pub arguments: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Additional lines in the help page; may be empty.
    pub description: &'static [&'static str],
    /// The command's own, beside those of the program.
    pub flags: &'static [Flag],
    /// Command lines and what they are for.
    pub examples: &'static [(&'static str, &'static str)],
    /// What the program does for it; opaque to this crate.
    pub run: R,
}

impl<R: Subcommands> Command<R> {
    /// Empty for a command that has none.
    pub fn subcommands(&self) -> &'static [&'static Command<R>] {
        self.run.subcommands()
    }
}

/// A program and all its commands.
pub struct Program<R: 'static> {
    /// As on the command line.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Shown in the program's help page.
    pub version: &'static str,
    /// In the order of the help page.
    pub commands: &'static [&'static Command<R>],
    /// Accepted before and after the command's name.
    pub flags: &'static [Flag],
    /// Paragraphs at the end of the help page, without a trailing newline; may be empty.
    pub notes: &'static [&'static str],
}
