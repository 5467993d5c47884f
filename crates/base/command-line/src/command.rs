//! What a command is: the one description from which parsing, help pages and completions come.

use crate::flag::Flag;

/// What a command does, as far as this crate has to know: whether words below it choose.
pub trait Below: Sized + 'static {
    fn below(&self) -> &'static [&'static Command<Self>];
}

/// `R` says what the command does.
pub struct Command<R> {
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
    pub run: R,
}

impl<R: Below> Command<R> {
    pub fn below(&self) -> &'static [&'static Command<R>] {
        self.run.below()
    }
}

/// The program as a whole.
pub struct Program<R: 'static> {
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Shown in the page of the program.
    pub version: &'static str,
    pub commands: &'static [&'static Command<R>],
    /// The global ones.
    pub flags: &'static [Flag],
    /// Paragraphs at the end of its page, without the last newline; may be empty.
    pub notes: &'static [&'static str],
}
