//! Parses the command line and runs the command.

use command_line::{
    BadFlag, Flag, HELP, ParsedArgs, Program, SHELLS, anywhere, before_arguments, command_page, completion,
    first_argument, nearest, program_page,
};

use crate::command::{Command, Run};
use crate::commands::COMMANDS;
use crate::failure::Failure;
use crate::global::{self, Global};
use crate::session::Session;
use crate::stdout::print;
use crate::version;

const PROGRAM: Program<Run> = Program {
    name: "fleetctl",
    summary: "manage systemd units across a cluster of machines",
    version: concat!("1.0.0 (Keelson ", env!("CARGO_PKG_VERSION"), ")"),
    commands: &COMMANDS,
    flags: global::FLAGS,
    notes: &[
        "Global options can also be set by environment variables with the prefix \"FLEETCTL_\", such as\n\
         FLEETCTL_SSH_USERNAME for --ssh-username. Options on the command line take precedence.",
        "Run \"fleetctl help COMMAND\" for help on a command.",
    ],
};

pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let position = match first_argument(&all_flags(), arguments) {
        Ok(position) => position,
        Err(bad) => return Err(incorrect_usage(&bad, &program_page(&PROGRAM))),
    };
    let Some(position) = position else {
        return run_without_command(arguments);
    };
    let name = arguments[position].as_str();
    let Some(command) = find(name) else {
        return Err(unknown_command(name));
    };
    let flags: Vec<Flag> = global::FLAGS.iter().chain(command.flags).copied().collect();
    let rest = [&arguments[..position], &arguments[position + 1..]].concat();
    // Flags after the machine belong to the remote command.
    let parsed =
        if command.name == "ssh" { before_arguments(&flags, &rest) } else { anywhere(&flags, &rest) };
    let page = || command_page(&PROGRAM, &[command.name], command);
    match parsed {
        Ok(args) if args.wants_help() => print(&page()),
        Ok(args) if args.is_set("version") => print(version::VERSION_LINE),
        Ok(args) => dispatch(command, &args),
        Err(bad) => Err(incorrect_usage(&bad, &page())),
    }
}

fn unknown_command(name: &str) -> Failure {
    let mut text = format!("fleetctl: unknown subcommand: {name:?}\nRun 'fleetctl help' for usage.");
    if let Some(meant) = nearest(name, COMMANDS.iter().map(|command| command.name)) {
        text.push_str(&format!("\nhint: did you mean {meant:?}?"));
    }
    Failure::usage(text)
}

fn run_without_command(arguments: &[String]) -> Result<(), Failure> {
    match anywhere(global::FLAGS, arguments) {
        Ok(args) if args.is_set("version") => print(version::VERSION_LINE),
        Ok(_) => print(&program_page(&PROGRAM)),
        Err(bad) => Err(incorrect_usage(&bad, &program_page(&PROGRAM))),
    }
}

/// Global flags and those of all commands, which may precede the command.
fn all_flags() -> Vec<Flag> {
    let of_commands = COMMANDS.iter().flat_map(|command| command.flags);
    global::FLAGS.iter().chain(of_commands).chain([&HELP]).copied().collect()
}

fn incorrect_usage(BadFlag(cause): &BadFlag, page: &str) -> Failure {
    Failure::usage(format!("{cause}\n{}", page.trim_end()))
}

/// Finds a command by its name or a unique prefix.
fn find(name: &str) -> Option<&'static Command> {
    let mut all = COMMANDS.iter().copied();
    if let Some(exact) = all.find(|command| command.name == name) {
        return Some(exact);
    }
    let mut candidates = COMMANDS.iter().copied().filter(|command| command.name.starts_with(name));
    match (candidates.next(), candidates.next()) {
        (Some(one), None) if !name.is_empty() => Some(one),
        _ => None,
    }
}

fn dispatch(command: &'static Command, args: &ParsedArgs) -> Result<(), Failure> {
    match command.run {
        Run::Version => print(version::VERSION_LINE),
        Run::Help => show_help(args),
        Run::Completion => print_completion(args),
        Run::LocalAction(action) => action(args),
        Run::Action(action) => {
            let environment = |name: &str| std::env::var(name).ok();
            let session = Session::new(Global::from(args, &environment)?);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("starting: {error}")))?;
            let done = runtime.block_on(action(&session, args));
            // A pending read of standard input must not delay the exit.
            runtime.shutdown_background();
            done
        }
    }
}

fn show_help(args: &ParsedArgs) -> Result<(), Failure> {
    match args.argument(0) {
        None => print(&program_page(&PROGRAM)),
        Some(name) => match find(name) {
            Some(command) => print(&command_page(&PROGRAM, &[command.name], command)),
            None => Err(unknown_command(name)),
        },
    }
}

fn print_completion(args: &ParsedArgs) -> Result<(), Failure> {
    let shell = args.argument(0).ok_or_else(|| Failure::usage(format!("Provide a shell: {SHELLS}")))?;
    print(&completion(shell, &PROGRAM).map_err(|error| Failure::usage(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_by_prefix() {
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
    fn flags_are_unique() {
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
        let all = all_flags();
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
