//! Parses the command line and runs the command.

use command_line::{
    BadFlag, ParsedArgs, Program, SHELLS, anywhere, before_arguments, command_page, completion, program_page,
};
use locksmith_core::FLAGS;

use super::command::{Command, Run};
use super::commands::COMMANDS;
use super::failure::Failure;
use super::session::Session;
use super::stdout::print;
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

pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let args = match before_arguments(FLAGS, arguments) {
        Ok(args) => args,
        Err(bad) => return Err(usage_failure(&bad, &program_page(&PROGRAM))),
    };
    if args.is_set("version") {
        return print(&format!("{} version {VERSION}\n", PROGRAM.name));
    }
    let Some((name, rest)) = args.arguments.split_first().filter(|_| !args.wants_help()) else {
        return print(&program_page(&PROGRAM));
    };
    let Some(command) = find(name) else {
        // On stdout, as locksmith does.
        print(&format!("locksmithctl: unknown subcommand: {name:?}\nRun 'locksmithctl help' for usage.\n"))?;
        return Err(Failure::reported_usage());
    };
    let page = || command_page(&PROGRAM, &[command.name], command);
    // A negative number would be parsed as a flag.
    let parsed = if command.flags.is_empty() && command.name == "set-max" {
        before_arguments(command.flags, &escape_negative_number(rest))
    } else {
        anywhere(command.flags, rest)
    };
    match parsed {
        Ok(command_args) if command_args.wants_help() => print(&page()),
        Ok(command_args) => start(command, &args, &command_args),
        Err(bad) => Err(usage_failure(&bad, &page())),
    }
}

/// Puts `--` before a leading negative number.
fn escape_negative_number(arguments: &[String]) -> Vec<String> {
    let negative =
        arguments.first().is_some_and(|argument| argument.parse::<i64>().is_ok_and(|number| number < 0));
    let guard = negative.then(|| "--".to_owned());
    guard.into_iter().chain(arguments.iter().cloned()).collect()
}

fn usage_failure(BadFlag(cause): &BadFlag, page: &str) -> Failure {
    Failure::usage(format!("{cause}\n{}", page.trim_end()))
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|command| command.name == name)
}

fn start(command: &'static Command, global: &ParsedArgs, args: &ParsedArgs) -> Result<(), Failure> {
    match command.run {
        Run::Help => help(args),
        Run::Completion => complete(args),
        Run::Execute(work) => {
            let store = locksmith_core::store_settings(global, &|name| std::env::var(name).ok())
                .map_err(|error| Failure::new(format!("Error initializing etcd client: {error}")))?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::new(format!("starting: {error}")))?;
            runtime.block_on(work(&Session::new(store), args))
        }
    }
}

fn help(args: &ParsedArgs) -> Result<(), Failure> {
    match args.argument(0) {
        None => print(&program_page(&PROGRAM)),
        Some(name) => match find(name) {
            Some(command) => print(&command_page(&PROGRAM, &[command.name], command)),
            None => {
                print(&format!("Unrecognized command: {name}\n"))?;
                Err(Failure::silent(1))
            }
        },
    }
}

fn complete(args: &ParsedArgs) -> Result<(), Failure> {
    let shell = args.argument(0).ok_or_else(|| Failure::usage(format!("Provide a shell: {SHELLS}")))?;
    print(&completion(shell, &PROGRAM).map_err(|error| Failure::usage(error.to_string()))?)
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
