//! From the words of the command line to the command that they name.

use command_line::{
    BadFlag, ParsedArgs, Program, SHELLS, anywhere, before_arguments, command_page, completion, program_page,
};
use locksmith_core::FLAGS;

use super::command::{Command, Run};
use super::commands::COMMANDS;
use super::failure::Failure;
use super::session::Session;
use super::stdout::say;
use crate::version::VERSION;

const PROGRAM: Program<Run> = Program {
    name: "locksmithctl",
    summary: "Manage the cluster wide reboot lock.",
    version: concat!("0.6.2 (Keelson ", env!("CARGO_PKG_VERSION"), ")"),
    commands: &COMMANDS,
    flags: FLAGS,
    notes: &[
        "Each global option can also be given as a variable of the environment: its name in capitals after\n\
         \"LOCKSMITHCTL_\", with '_' for '-', as in LOCKSMITHCTL_ETCD_CAFILE for --etcd-cafile. An option wins.",
        "Run \"locksmithctl help COMMAND\" for more details on a specific command.",
    ],
};

pub fn run(words: &[String]) -> Result<(), Failure> {
    let given = match before_arguments(FLAGS, words) {
        Ok(given) => given,
        Err(bad) => return Err(misused(&bad, &program_page(&PROGRAM))),
    };
    if given.is_set("version") {
        return say(&format!("{} version {VERSION}\n", PROGRAM.name));
    }
    let Some((name, rest)) = given.arguments.split_first().filter(|_| !given.wants_help()) else {
        return say(&program_page(&PROGRAM));
    };
    let Some(command) = find(name) else {
        // On standard output, as it always was.
        say(&format!("locksmithctl: unknown subcommand: {name:?}\nRun 'locksmithctl help' for usage.\n"))?;
        return Err(Failure::said_wrong_use());
    };
    let page = || command_page(&PROGRAM, &[command.name], command);
    // A number below zero looks like a flag.
    let parsed = if command.flags.is_empty() && command.name == "set-max" {
        before_arguments(command.flags, &guarded(rest))
    } else {
        anywhere(command.flags, rest)
    };
    match parsed {
        Ok(own) if own.wants_help() => say(&page()),
        Ok(own) => start(command, &given, &own),
        Err(bad) => Err(misused(&bad, &page())),
    }
}

/// With `--` before a first word that is a number below zero.
fn guarded(words: &[String]) -> Vec<String> {
    let negative = words.first().is_some_and(|word| word.parse::<i64>().is_ok_and(|number| number < 0));
    let guard = negative.then(|| "--".to_owned());
    guard.into_iter().chain(words.iter().cloned()).collect()
}

fn misused(BadFlag(cause): &BadFlag, page: &str) -> Failure {
    Failure::usage(format!("{cause}\n{}", page.trim_end()))
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|command| command.name == name)
}

fn start(command: &'static Command, global: &ParsedArgs, given: &ParsedArgs) -> Result<(), Failure> {
    match command.run {
        Run::Help => help(given),
        Run::Completion => complete(given),
        Run::Does(work) => {
            let store = locksmith_core::store(global, &|name| std::env::var(name).ok())
                .map_err(|error| Failure::new(format!("Error initializing etcd client: {error}")))?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("starting: {error}")))?;
            runtime.block_on(work(&Session::new(store), given))
        }
    }
}

fn help(given: &ParsedArgs) -> Result<(), Failure> {
    match given.argument(0) {
        None => say(&program_page(&PROGRAM)),
        Some(name) => match find(name) {
            Some(command) => say(&command_page(&PROGRAM, &[command.name], command)),
            None => {
                say(&format!("Unrecognized command: {name}\n"))?;
                Err(Failure::silent(1))
            }
        },
    }
}

fn complete(given: &ParsedArgs) -> Result<(), Failure> {
    let shell = given.argument(0).ok_or_else(|| Failure::usage(format!("Provide a shell: {SHELLS}")))?;
    say(&completion(shell, &PROGRAM).map_err(|error| Failure::usage(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_with_examples_and_a_completion() {
        let scripts = ["bash", "zsh", "fish"].map(|shell| completion(shell, &PROGRAM).unwrap());
        for command in COMMANDS {
            let page = command_page(&PROGRAM, &[command.name], command);
            assert!(page.contains("USAGE:") && page.contains("OPTIONS:"), "{page}");
            assert!(!command.examples.is_empty(), "no examples: {}", command.name);
            for (typed, _) in command.examples {
                assert!(typed.contains(command.name), "{}: {typed}", command.name);
            }
            assert!(scripts.iter().all(|script| script.contains(command.name)), "{}", command.name);
        }
    }
}
