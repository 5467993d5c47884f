//! From the words of the command line to the command that they name.

use command_line::{
    BadFlag, ParsedArgs, Program, SHELLS, around_arguments, before_arguments, command_page, completion,
    nearest, program_page,
};

use crate::command::{Command, Run};
use crate::commands::COMMANDS;
use crate::failure::{Exit, Failure};
use crate::global::{self, Global};
use crate::session::Session;
use crate::stdout::say;

/// The version whose behaviour this is: scripts look at it.
const VERSION: &str = "etcdctl version 2.3.8\n";

const PROGRAM: Program<Run> = Program {
    name: "etcdctl",
    summary: "reads and changes the keys of an etcd cluster, and looks after its members",
    version: concat!("Keelson ", env!("CARGO_PKG_VERSION"), ", as etcdctl 2.3.8"),
    commands: &COMMANDS,
    flags: global::FLAGS,
    notes: &[],
};

pub fn run(words: &[String]) -> Result<(), Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    if let Some(api) = environment("ETCDCTL_API")
        && !matches!(api.as_str(), "" | "2")
    {
        return Err(Failure::usage(format!(
            "ETCDCTL_API={api}: this etcdctl speaks version 2 of the API only, version 3 is not there yet\n\
             hint: unset ETCDCTL_API, or set it to 2"
        )));
    }
    let given = match before_arguments(global::FLAGS, words) {
        Ok(given) => given,
        Err(bad) => return incorrect(&bad, &program_page(&PROGRAM)),
    };
    if given.is_set("version") {
        return say(VERSION);
    }
    let Some((name, rest)) = given.arguments.split_first().filter(|_| !given.wants_help()) else {
        return say(&program_page(&PROGRAM));
    };
    match find(&COMMANDS, name) {
        Some(command) => dispatch(&given, vec![command.name], command, rest, &environment),
        None => no_topic(name, &COMMANDS),
    }
}

fn find(commands: &[&'static Command], name: &str) -> Option<&'static Command> {
    // `h` is what `help` was called for short.
    let name = if name == "h" { "help" } else { name };
    commands.iter().copied().find(|command| command.name == name)
}

fn dispatch(
    global: &ParsedArgs,
    path: Vec<&'static str>,
    command: &'static Command,
    words: &[String],
    environment: global::Environment<'_>,
) -> Result<(), Failure> {
    let parsed = match command.run {
        Run::Group(_) => before_arguments(command.flags, words),
        Run::Does(_) | Run::Help | Run::Completion => around_arguments(command.flags, words),
    };
    let given = match parsed {
        Ok(given) => given,
        Err(bad) => return incorrect(&bad, &command_page(&PROGRAM, &path, command)),
    };
    if given.wants_help() {
        return say(&command_page(&PROGRAM, &path, command));
    }
    match command.run {
        Run::Help => show_help(&given),
        Run::Completion => complete(&given),
        Run::Group(below) => match given.arguments.split_first() {
            None => say(&command_page(&PROGRAM, &path, command)),
            Some((name, rest)) => match find(below, name) {
                Some(next) => dispatch(global, [path, vec![next.name]].concat(), next, rest, environment),
                None if name == "help" || name == "h" => help_below(&path, command, rest),
                None => no_topic(name, below),
            },
        },
        Run::Does(work) => {
            let mut session = Session::new(Global::from(global, environment)?);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::usage(format!("starting: {error}")))?;
            let done = runtime.block_on(async {
                session.discover().await?;
                work(&mut session, &given).await
            });
            // A blocking read of the standard input must not hold the end of the program up.
            runtime.shutdown_background();
            done
        }
    }
}

/// A wrong flag: said on standard output with the help page, as it always was, and the cause on the other.
fn incorrect(BadFlag(cause): &BadFlag, page: &str) -> Result<(), Failure> {
    say(&format!("Incorrect Usage.\n\n{page}"))?;
    Err(Failure::usage(cause.clone()))
}

/// What version 3 of the API calls them, and what they are called elsewhere.
const ALSO_CALLED: [(&str, &str); 4] = [("put", "set"), ("delete", "rm"), ("del", "rm"), ("list", "ls")];

/// Always was a success.
fn no_topic(name: &str, known: &[&'static Command]) -> Result<(), Failure> {
    say(&format!("No help topic for '{name}'\n"))?;
    let meant = ALSO_CALLED.into_iter().find(|(called, _)| *called == name).map(|(_, meant)| meant);
    let meant = meant.filter(|meant| known.iter().any(|command| command.name == *meant));
    match meant.or_else(|| nearest(name, known.iter().map(|command| command.name))) {
        Some(meant) => Err(Failure::new(Exit::Success, format!("hint: did you mean '{meant}'?"))),
        None => Ok(()),
    }
}

fn show_help(given: &ParsedArgs) -> Result<(), Failure> {
    match given.arguments.split_first() {
        None => say(&program_page(&PROGRAM)),
        Some((name, rest)) => match find(&COMMANDS, name) {
            Some(command) => help_below(&[command.name], command, rest),
            None => no_topic(name, &COMMANDS),
        },
    }
}

/// The page of the command that `words` lead to from `command`.
fn help_below(path: &[&'static str], command: &'static Command, words: &[String]) -> Result<(), Failure> {
    match words.split_first().filter(|_| !command.subcommands().is_empty()) {
        None => say(&command_page(&PROGRAM, path, command)),
        Some((name, rest)) => match find(command.subcommands(), name) {
            Some(next) => help_below(&[path, &[next.name]].concat(), next, rest),
            None => no_topic(name, command.subcommands()),
        },
    }
}

fn complete(given: &ParsedArgs) -> Result<(), Failure> {
    let Some(shell) = given.argument(0) else {
        return Err(Failure::usage(format!("Provide a shell: {}", SHELLS)));
    };
    say(&completion(shell, &PROGRAM).map_err(|error| Failure::usage(error.to_string()))?)
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
    fn no_flag_is_there_twice() {
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
    fn each_command_has_a_page_with_examples_and_a_completion() {
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
                for (typed, _) in command.examples {
                    assert!(typed.contains(&path.join(" ")), "{path:?}: {typed}");
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
