//! Parses the command line and runs the command.

use anyhow::{Context as _, bail};
use command_line::{
    BadFlag, Flag, HELP, ParsedArgs, Program, SHELLS, anywhere, before_arguments, command_page, completion,
    nearest, program_page,
};

use crate::command::{Command, Run};
use crate::commands::COMMANDS;
use crate::context::{self, Context};
use crate::pod_init;
use crate::stdout::print;

pub const VERSION: &str = concat!("1.30.0 (Keelson ", env!("CARGO_PKG_VERSION"), ")");

const PROGRAM: Program<Run> = Program {
    name: "rkt",
    summary: "run containers without a daemon",
    version: VERSION,
    commands: &COMMANDS,
    flags: context::FLAGS,
    notes: &["Run \"rkt help COMMAND\" for help on a command."],
};

pub fn run(arguments: &[String]) -> anyhow::Result<u8> {
    if let [first, folder] = arguments
        && first == pod_init::COMMAND
    {
        return pod_init::run(folder.as_ref());
    }
    let before = before_arguments(context::FLAGS, arguments).map_err(usage)?;
    let Some((name, rest)) = before.arguments.split_first() else {
        print(&program_page(&PROGRAM))?;
        return Ok(0);
    };
    let mut path = vec![name.as_str()];
    let mut command = find(&COMMANDS, name)?;
    let mut rest = rest;
    while let Run::Group(commands) = command.run {
        match rest.split_first().filter(|(name, _)| !HELP.is_called(name.trim_start_matches('-'))) {
            Some((name, after)) => {
                command = find(commands, name)?;
                path.push(name);
                rest = after;
            }
            None => {
                print(&command_page(&PROGRAM, &path, command))?;
                return Ok(0);
            }
        }
    }
    let leading = arguments.get(..arguments.len() - before.arguments.len()).unwrap_or_default();
    let all: Vec<String> = leading.iter().chain(rest).cloned().collect();
    let done = dispatch(command, &path, &all);
    done.with_context(|| path.join(" "))
}

fn dispatch(command: &'static Command, path: &[&str], arguments: &[String]) -> anyhow::Result<u8> {
    let flags: Vec<Flag> = context::FLAGS.iter().chain(command.flags).copied().collect();
    let page = || command_page(&PROGRAM, path, command);
    let parse = |leading: bool| {
        let parsed = if leading { before_arguments(&flags, arguments) } else { anywhere(&flags, arguments) };
        parsed.map_err(usage)
    };
    let run = |action: crate::command::Action, args: ParsedArgs| {
        if args.wants_help() {
            print(&page())?;
            return Ok(0);
        }
        action(&Context::new(&args)?, &args)
    };
    match command.run {
        Run::Action(action) => run(action, parse(false)?),
        Run::Leading(action) => run(action, parse(true)?),
        Run::Pod(action) => {
            let request = pod::parse(context::FLAGS, arguments)?;
            if request.flags.wants_help() {
                print(&page())?;
                return Ok(0);
            }
            action(&Context::new(&request.flags)?, request)
        }
        Run::Version => {
            let text = format!("rkt Version: {VERSION}\nOCI runtime: {}\n", crate::crun::PROGRAM);
            print(&text).map(|()| 0)
        }
        Run::Help => show_help(&parse(false)?),
        Run::Completion => {
            let args = parse(false)?;
            let shell = args.argument(0).with_context(|| format!("provide a shell: {SHELLS}"))?;
            print(&completion(shell, &PROGRAM)?).map(|()| 0)
        }
        Run::Group(_) => bail!("a subcommand is required"),
    }
}

fn usage(BadFlag(cause): BadFlag) -> anyhow::Error {
    anyhow::anyhow!("{cause}\nRun \"rkt help\" for usage.")
}

fn find(commands: &[&'static Command], name: &str) -> anyhow::Result<&'static Command> {
    if let Some(command) = commands.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    if let Some((_, equivalent)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        bail!("{name} is not supported: {equivalent}");
    }
    match nearest(name, commands.iter().map(|command| command.name)) {
        Some(meant) => bail!("unknown command {name:?}\nhint: did you mean {meant:?}?"),
        None => bail!("unknown command {name:?}\nRun \"rkt help\" for usage."),
    }
}

/// Commands of rkt without an equivalent.
const REFUSED: [(&str, &str); 8] = [
    ("api-service", "`rkt list --json` and `rkt status --json` have what it served"),
    ("metadata-service", "use environment variables (--set-env)"),
    ("attach", "use `rkt enter`, or `rkt run --interactive`"),
    ("fly", "use `rkt run --stage1-name=coreos.com/rkt/stage1-fly`"),
    ("app", "pods do not change while they run; list all apps in `rkt run`"),
    ("export", "copy files with a volume; the changed files are in the pod's folder, overlay/APP/upper"),
    ("install", "the directory is created on first use"),
    ("register", "use `rkt run` in a unit"),
];

fn show_help(args: &ParsedArgs) -> anyhow::Result<u8> {
    let mut commands: &[&'static Command] = &COMMANDS;
    let mut page = program_page(&PROGRAM);
    let mut path = Vec::new();
    for name in &args.arguments {
        let command = find(commands, name)?;
        path.push(name.as_str());
        page = command_page(&PROGRAM, &path, command);
        commands = command.subcommands();
    }
    print(&page).map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_commands(commands: &[&'static Command], parents: &[&str]) {
        for command in commands {
            let path = [parents, &[command.name]].concat();
            let page = command_page(&PROGRAM, &path, command);
            assert!(page.contains("USAGE:"), "{page}");
            let flags: Vec<&Flag> = context::FLAGS.iter().chain(command.flags).chain([&HELP]).collect();
            for (at, flag) in flags.iter().enumerate() {
                assert!(
                    flags[at + 1..].iter().all(|other| !other.is_called(flag.name())),
                    "{path:?} {}",
                    flag.name()
                );
            }
            if command.subcommands().is_empty() {
                assert!(!command.examples.is_empty(), "no examples: {path:?}");
            }
            for (typed, _) in command.examples {
                assert!(typed.contains(&path.join(" ")), "{path:?}: {typed}");
            }
            check_commands(command.subcommands(), &path);
        }
    }

    #[test]
    fn commands_have_help_pages_and_completions() {
        check_commands(&COMMANDS, &[]);
        for shell in ["bash", "zsh", "fish"] {
            let script = completion(shell, &PROGRAM).unwrap();
            assert!(COMMANDS.iter().all(|command| script.contains(command.name)), "{shell}");
        }
    }
}
