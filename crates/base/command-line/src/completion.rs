//! Completions for shells: the same descriptions, handed to clap's generator.

use std::fmt;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ValueHint};
use clap_complete::Shell;

use crate::command::{Below, Command, Program};
use crate::flag::{Flag, Takes};

/// The shells that are known here.
pub const SHELLS: &str = "bash|zsh|fish";

#[derive(Debug, PartialEq, Eq)]
pub struct UnknownShell(pub String);

impl fmt::Display for UnknownShell {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?} is no shell that is known here: {SHELLS}", self.0)
    }
}

impl std::error::Error for UnknownShell {}

/// The script that teaches `shell` the program's commands and flags.
pub fn script<R: Below>(shell: &str, program: &Program<R>) -> Result<String, UnknownShell> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => return Err(UnknownShell(other.to_owned())),
    };
    let mut described_program = clap::Command::new(program.name)
        .disable_help_subcommand(true)
        .args(shown(program.flags).map(argument))
        .subcommands(program.commands.iter().map(|command| described(command)));
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut described_program, program.name, &mut script);
    // The descriptions are text, so the script is.
    Ok(String::from_utf8_lossy(&script).into_owned())
}

fn shown(flags: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().filter(|flag| !flag.hidden)
}

fn described<R: Below>(command: &'static Command<R>) -> clap::Command {
    clap::Command::new(command.name)
        .about(command.summary)
        .disable_help_subcommand(true)
        .args(shown(command.flags).map(argument))
        .subcommands(command.below().iter().map(|command| described(command)))
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.name()).help(flag.help);
    let argument = match flag.name() {
        one if one.len() == 1 => argument.short(one.chars().next()),
        name => argument.long(name).short(flag.letter().and_then(|letter| letter.chars().next())),
    };
    match flag.takes {
        Takes::Nothing | Takes::PerhapsNumber => argument.action(ArgAction::SetTrue),
        Takes::File => argument.value_hint(ValueHint::FilePath),
        Takes::Directory => argument.value_hint(ValueHint::DirPath),
        Takes::OneOf(words) => argument.value_parser(PossibleValuesParser::new(words)),
        Takes::Text | Takes::Number | Takes::Integer | Takes::Seconds | Takes::Duration => {
            argument.value_hint(ValueHint::Other)
        }
    }
}
