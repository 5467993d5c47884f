//! Help pages, generated from the command descriptions.

use crate::command::{Command, Program, Subcommands};
use crate::flag::{Flag, HELP, ValueKind};

/// The help page of the program.
pub fn program<R: Subcommands>(program: &Program<R>) -> String {
    let name = program.name;
    let mut page = format!("NAME:\n   {name} - {}\n\n", program.summary);
    page.push_str(&format!(
        "USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n"
    ));
    page.push_str(&format!("VERSION:\n   {}\n\n", program.version));
    page.push_str(&list(program.commands));
    page.push_str(&options("GLOBAL OPTIONS", program.flags));
    for note in program.notes {
        page.push_str(&format!("\n{note}\n"));
    }
    page
}

/// The help page of one command; `path` is the command with its parents, without the program's name.
pub fn command<R: Subcommands>(program: &Program<R>, path: &[&str], command: &Command<R>) -> String {
    let name = format!("{} {}", program.name, path.join(" "));
    let mut page = format!("NAME:\n   {name} - {}\n\n", command.summary);
    let usage = match (command.subcommands().is_empty(), command.flags.is_empty()) {
        (false, _) => format!("{name} command [command options] [arguments...]"),
        (true, true) => format!("{name} {}", command.arguments),
        (true, false) => format!("{name} [command options] {}", command.arguments),
    };
    page.push_str(&format!("USAGE:\n   {}\n\n", usage.trim_end()));
    if !command.description.is_empty() {
        page.push_str(&section("DESCRIPTION", command.description.iter().map(|line| (*line).to_owned())));
    }
    if !command.subcommands().is_empty() {
        page.push_str(&list(command.subcommands()));
    }
    if !command.examples.is_empty() {
        let width = command.examples.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
        let lines =
            command.examples.iter().map(|(command, purpose)| format!("{command:width$}   # {purpose}"));
        page.push_str(&section("EXAMPLES", lines));
    }
    page.push_str(&options("OPTIONS", command.flags));
    page
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = format!("{title}:\n");
    for line in lines {
        text.push_str(format!("   {line}").trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

fn list<R>(commands: &[&Command<R>]) -> String {
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0);
    section(
        "COMMANDS",
        commands.iter().map(|command| format!("{:width$}  {}", command.name, command.summary)),
    )
}

fn options(title: &str, flags: &[Flag]) -> String {
    let visible = flags.iter().chain([&HELP]).filter(|flag| !flag.hidden);
    let rows: Vec<_> = visible.map(|flag| (flag.usage(), flag_help(flag))).collect();
    let width = rows.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let text = section(title, rows.iter().map(|(usage, help)| format!("{usage:width$}  {help}")));
    format!("{}\n", text.trim_end())
}

fn flag_help(flag: &Flag) -> String {
    match (flag.default, flag.value_kind) {
        ("", _) => flag.help.to_owned(),
        (default, ValueKind::Switch) => format!("{} (default: {default})", flag.help),
        (default, _) => format!("{} (default: {default:?})", flag.help),
    }
}
