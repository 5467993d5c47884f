//! Parses the command line and runs the command.

use command_line::{
    BadFlag, Environment, ParsedArgs, Program, SHELLS, around_arguments, before_arguments, command_page,
    completion, nearest, program_page,
};

use crate::command::{Command, Run};
use crate::commands::COMMANDS;
use crate::failure::{Exit, Failure};
use crate::global::{self, Global};
use crate::session::Session;
use crate::stdout::print;

/// The version whose behaviour this program has; scripts test it.
const VERSION: &str = "etcdctl version 2.3.8\n";

const PROGRAM: Program<Run> = Program {
    name: "etcdctl",
    summary: "command-line client for etcd",
    version: concat!("Keelson ", env!("CARGO_PKG_VERSION"), ", as etcdctl 2.3.8"),
    commands: &COMMANDS,
    flags: global::FLAGS,
    notes: &[],
};

pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    if let Some(api) = environment("ETCDCTL_API")
        && !matches!(api.as_str(), "" | "2")
    {
        return Err(Failure::usage(format!(
            "ETCDCTL_API={api}: this etcdctl speaks version 2 of the API only, version 3 is not there yet\n\
             hint: unset ETCDCTL_API, or set it to 2"
        )));
    }
    let args = match before_arguments(global::FLAGS, arguments) {
        Ok(args) => args,
        Err(bad) => return incorrect_usage(&bad, &program_page(&PROGRAM)),
    };
    if args.is_set("version") {
        return print(VERSION);
    }
    let Some((name, rest)) = args.arguments.split_first().filter(|_| !args.wants_help()) else {
        return print(&program_page(&PROGRAM));
    };
    match find(&COMMANDS, name) {
        Some(command) => dispatch(&args, vec![command.name], command, rest, &environment),
        None => no_help_topic(name, &COMMANDS),
    }
}

fn find(commands: &[&'static Command], name: &str) -> Option<&'static Command> {
    // The original's short form of `help`.
    let name = if name == "h" { "help" } else { name };
    commands.iter().copied().find(|command| command.name == name)
}

fn dispatch(
    global: &ParsedArgs,
    path: Vec<&'static str>,
    command: &'static Command,
    arguments: &[String],
    environment: Environment<'_>,
) -> Result<(), Failure> {
    let parsed = match command.run {
        Run::Group(_) => before_arguments(command.flags, arguments),
        Run::Action(_) | Run::Help | Run::Completion => around_arguments(command.flags, arguments),
    };
    let args = match parsed {
        Ok(args) => args,
        Err(bad) => return incorrect_usage(&bad, &command_page(&PROGRAM, &path, command)),
    };
    if args.wants_help() {
        return print(&command_page(&PROGRAM, &path, command));
    }
    match command.run {
        Run::Help => show_help(&args),
        Run::Completion => complete(&args),
        Run::Group(below) => match args.arguments.split_first() {
            None => print(&command_page(&PROGRAM, &path, command)),
            Some((name, rest)) => match find(below, name) {
                Some(next) => dispatch(global, [path, vec![next.name]].concat(), next, rest, environment),
                None if name == "help" || name == "h" => show_subcommand_help(&path, command, rest),
                None => no_help_topic(name, below),
            },
        },
        Run::Action(work) => {
            let mut session = Session::new(Global::from(global, environment)?);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::usage(format!("starting: {error}")))?;
            let result = runtime.block_on(async {
                session.discover().await?;
                work(&mut session, &args).await
            });
            // A pending read of standard input must not delay the exit.
            runtime.shutdown_background();
            result
        }
    }
}

/// An invalid flag: the help page on standard output, as in the original, the cause on standard error.
fn incorrect_usage(BadFlag(cause): &BadFlag, page: &str) -> Result<(), Failure> {
    print(&format!("Incorrect Usage.\n\n{page}"))?;
    Err(Failure::usage(cause.clone()))
}

/// Names of the v3 API and of other programs.
const ALIASES: [(&str, &str); 4] = [("put", "set"), ("delete", "rm"), ("del", "rm"), ("list", "ls")];

/// Exits with 0, as in the original.
fn no_help_topic(name: &str, known: &[&'static Command]) -> Result<(), Failure> {
    print(&format!("No help topic for '{name}'\n"))?;
    let suggestion =
        ALIASES.into_iter().find(|(called, _)| *called == name).map(|(_, suggestion)| suggestion);
    let suggestion = suggestion.filter(|suggestion| known.iter().any(|command| command.name == *suggestion));
    match suggestion.or_else(|| nearest(name, known.iter().map(|command| command.name))) {
        Some(suggestion) => Err(Failure::new(Exit::Success, format!("hint: did you mean '{suggestion}'?"))),
        None => Ok(()),
    }
}

fn show_help(args: &ParsedArgs) -> Result<(), Failure> {
    match args.arguments.split_first() {
        None => print(&program_page(&PROGRAM)),
        Some((name, rest)) => match find(&COMMANDS, name) {
            Some(command) => show_subcommand_help(&[command.name], command, rest),
            None => no_help_topic(name, &COMMANDS),
        },
    }
}

/// Shows the help of the subcommand that `arguments` name, relative to `command`.
fn show_subcommand_help(
    path: &[&'static str],
    command: &'static Command,
    arguments: &[String],
) -> Result<(), Failure> {
    match arguments.split_first().filter(|_| !command.subcommands().is_empty()) {
        None => print(&command_page(&PROGRAM, path, command)),
        Some((name, rest)) => match find(command.subcommands(), name) {
            Some(next) => show_subcommand_help(&[path, &[next.name]].concat(), next, rest),
            None => no_help_topic(name, command.subcommands()),
        },
    }
}

fn complete(args: &ParsedArgs) -> Result<(), Failure> {
    let Some(shell) = args.argument(0) else {
        return Err(Failure::usage(format!("Provide a shell: {}", SHELLS)));
    };
    print(&completion(shell, &PROGRAM).map_err(|error| Failure::usage(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use command_line::Flag;

    /// The flags of each command, and the global ones.
    fn all_flags() -> Vec<(Vec<&'static str>, &'static [Flag])> {
        fn walk(
            path: &[&'static str],
            list: &[&'static Command],
            into: &mut Vec<(Vec<&'static str>, &'static [Flag])>,
        ) {
            for command in list {
                let path = [path, &[command.name]].concat();
                walk(&path, command.subcommands(), into);
                into.push((path, command.flags));
            }
        }
        let mut all = vec![(Vec::new(), global::FLAGS)];
        walk(&[], &COMMANDS, &mut all);
        all
    }

    #[test]
    fn flags_are_unique_per_command() {
        for (path, flags) in all_flags() {
            for (at, flag) in flags.iter().enumerate() {
                let others = &flags[at + 1..];
                let clash = others.iter().find(|other| {
                    other.is_called(flag.name())
                        || flag.letter().is_some_and(|letter| other.is_called(letter))
                });
                assert!(clash.is_none(), "{path:?}: {}", flag.name());
            }
        }
    }

    #[test]
    fn each_command_has_help_examples_and_completion() {
        fn walk(path: &[&'static str], list: &[&'static Command], scripts: &[String]) {
            for command in list {
                let path = [path, &[command.name]].concat();
                let page = command_page(&PROGRAM, &path, command);
                assert!(
                    page.contains(&format!("etcdctl {} - {}", path.join(" "), command.summary)),
                    "{page}"
                );
                assert!(
                    !command.examples.is_empty() || !command.subcommands().is_empty(),
                    "no examples: {path:?}"
                );
                for (command_line, _) in command.examples {
                    assert!(command_line.contains(&path.join(" ")), "{path:?}: {command_line}");
                }
                for script in scripts {
                    assert!(script.contains(command.name), "{path:?}");
                }
                walk(&path, command.subcommands(), scripts);
            }
        }
        let scripts = ["bash", "zsh", "fish"].map(|shell| completion(shell, &PROGRAM).unwrap());
        walk(&[], &COMMANDS, &scripts);
    }
}
