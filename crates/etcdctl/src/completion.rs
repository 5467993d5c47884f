//! Completions for shells: the same descriptions, handed to clap's generator.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ValueHint};
use clap_complete::Shell;

use crate::command::Command;
use crate::failure::Failure;
use crate::flag::{Flag, Takes};

/// What `completion` takes.
pub const SHELLS: &str = "bash|zsh|fish";

pub fn script(
    shell: &str,
    commands: &[&'static Command],
    flags: &'static [Flag],
) -> Result<Vec<u8>, Failure> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => return Err(Failure::usage(format!("{other:?} is no shell that is known here: {SHELLS}"))),
    };
    let mut program = clap::Command::new("etcdctl")
        .disable_help_subcommand(true)
        .args(flags.iter().map(argument))
        .subcommands(commands.iter().map(|command| described(command)));
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "etcdctl", &mut script);
    Ok(script)
}

fn described(command: &'static Command) -> clap::Command {
    clap::Command::new(command.name)
        .about(command.summary)
        .disable_help_subcommand(true)
        .args(command.flags.iter().map(argument))
        .subcommands(command.below().iter().map(|command| described(command)))
}

fn argument(flag: &'static Flag) -> Arg {
    let argument = Arg::new(flag.name()).help(flag.help);
    let argument = match flag.name() {
        one if one.len() == 1 => argument.short(one.chars().next()),
        name => argument.long(name).short(flag.letter().and_then(|letter| letter.chars().next())),
    };
    match flag.takes {
        Takes::Nothing => argument.action(ArgAction::SetTrue),
        Takes::File => argument.value_hint(ValueHint::FilePath),
        Takes::Directory => argument.value_hint(ValueHint::DirPath),
        Takes::OneOf(words) => argument.value_parser(PossibleValuesParser::new(words)),
        Takes::Text | Takes::Number | Takes::Duration => argument.value_hint(ValueHint::Other),
    }
}
