//! From the words of the command line to the command that they name.

use command_line::{
    BadFlag, Flag, HELP, ParsedArgs, Program, SHELLS, anywhere, before_arguments, command_page, completion,
    first_argument, nearest, program_page,
};

use crate::command::{Command, Run};
use crate::commands::COMMANDS;
use crate::failure::Failure;
use crate::global::{self, Global};
use crate::session::Session;
use crate::stdout::say;
use crate::version;

const PROGRAM: Program<Run> = Program {
    name: "fleetctl",
    summary: "runs units on the machines of a cluster, and shows what became of them",
    version: concat!("1.0.0 (Keelson ", env!("CARGO_PKG_VERSION"), ")"),
    commands: &COMMANDS,
    flags: global::FLAGS,
    notes: &[
        "Each global option can also be given as a variable of the environment: its name in capitals after\n\
         \"FLEETCTL_\", with '_' for '-', as in FLEETCTL_SSH_USERNAME for --ssh-username. An option wins.",
        "Run \"fleetctl help COMMAND\" for the options of a command.",
    ],
};

pub fn run(words: &[String]) -> Result<(), Failure> {
    let place = match first_argument(&every_flag(), words) {
        Ok(place) => place,
        Err(bad) => return Err(misused(&bad, &program_page(&PROGRAM))),
    };
    let Some(place) = place else {
        return without_command(words);
    };
    let name = words[place].as_str();
    let Some(command) = find(name) else {
        return Err(unknown(name));
    };
    let flags: Vec<Flag> = global::FLAGS.iter().chain(command.flags).copied().collect();
    let rest = [&words[..place], &words[place + 1..]].concat();
    // Behind the machine, everything is the command that is run there.
    let parsed =
        if command.name == "ssh" { before_arguments(&flags, &rest) } else { anywhere(&flags, &rest) };
    let page = || command_page(&PROGRAM, &[command.name], command);
    match parsed {
        Ok(given) if given.wants_help() => say(&page()),
        Ok(given) if given.is_set("version") => say(version::LINE),
        Ok(given) => start(command, &given),
        Err(bad) => Err(misused(&bad, &page())),
    }
}

fn unknown(name: &str) -> Failure {
    let mut text = format!("fleetctl: unknown subcommand: {name:?}\nRun 'fleetctl help' for usage.");
    if let Some(meant) = nearest(name, COMMANDS.iter().map(|command| command.name)) {
        text.push_str(&format!("\nhint: did you mean {meant:?}?"));
    }
    Failure::usage(text)
}

fn without_command(words: &[String]) -> Result<(), Failure> {
    match anywhere(global::FLAGS, words) {
        Ok(given) if given.is_set("version") => say(version::LINE),
        Ok(_) => say(&program_page(&PROGRAM)),
        Err(bad) => Err(misused(&bad, &program_page(&PROGRAM))),
    }
}

/// Those of all commands too: they may stand before the command.
fn every_flag() -> Vec<Flag> {
    let of_commands = COMMANDS.iter().flat_map(|command| command.flags);
    global::FLAGS.iter().chain(of_commands).chain([&HELP]).copied().collect()
}

fn misused(BadFlag(cause): &BadFlag, page: &str) -> Failure {
    Failure::usage(format!("{cause}\n{}", page.trim_end()))
}

/// By its name, or by the beginning of it that no other has.
fn find(name: &str) -> Option<&'static Command> {
    let mut all = COMMANDS.iter().copied();
    if let Some(exact) = all.find(|command| command.name == name) {
        return Some(exact);
    }
    let mut beginning = COMMANDS.iter().copied().filter(|command| command.name.starts_with(name));
    match (beginning.next(), beginning.next()) {
        (Some(one), None) if !name.is_empty() => Some(one),
        _ => None,
    }
}

fn start(command: &'static Command, given: &ParsedArgs) -> Result<(), Failure> {
    match command.run {
        Run::Version => say(version::LINE),
        Run::Help => help(given),
        Run::Completion => complete(given),
        Run::Alone(work) => work(given),
        Run::Does(work) => {
            let environment = |name: &str| std::env::var(name).ok();
            let session = Session::new(Global::from(given, &environment)?);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("starting: {error}")))?;
            let done = runtime.block_on(work(&session, given));
            // A blocking read of the standard input must not hold the end of the program up.
            runtime.shutdown_background();
            done
        }
    }
}

fn help(given: &ParsedArgs) -> Result<(), Failure> {
    match given.argument(0) {
        None => say(&program_page(&PROGRAM)),
        Some(name) => match find(name) {
            Some(command) => say(&command_page(&PROGRAM, &[command.name], command)),
            None => Err(unknown(name)),
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
    fn commands_by_their_beginning() {
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(find(name).map(|command| command.name), expect, "{name}");
        };
        check("list-ma", Some("list-machines"));
        check("list-unit", None);
        check("list-units", Some("list-units"));
        check("sub", Some("submit"));
        check("s", None);
        check("", None);
        check("bogus", None);
    }

    #[test]
    fn no_flag_is_there_twice() {
        for command in COMMANDS {
            let flags: Vec<&Flag> = global::FLAGS.iter().chain(command.flags).chain([&HELP]).collect();
            for (at, flag) in flags.iter().enumerate() {
                let clash = flags[at + 1..].iter().find(|other| {
                    other.is_called(flag.name())
                        || flag.letter().is_some_and(|letter| other.is_called(letter))
                });
                assert!(clash.is_none(), "{}: {}", command.name, flag.name());
            }
        }
    }

    /// A flag that stands before its command is read before the command is known.
    #[test]
    fn a_flag_takes_the_same_in_every_command() {
        let all = every_flag();
        for one in &all {
            for other in all.iter().filter(|other| other.is_called(one.name())) {
                let valued = |flag: &Flag| !matches!(flag.value_kind, command_line::ValueKind::Switch);
                assert_eq!(valued(one), valued(other), "{}", one.name());
            }
        }
    }

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
