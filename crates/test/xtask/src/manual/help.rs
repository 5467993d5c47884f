//! Parses help texts of a program and of each command that they list.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::programs::Program;

/// Headings of command lists: clap's, and those of the original programs.
const COMMANDS: [&str; 2] = ["COMMANDS:", "Commands:"];
/// A command that prints the same as `--help`.
const HELP: &str = "help";
/// Maximal nesting of commands below a program.
const MAX_DEPTH: usize = 4;

#[derive(Debug)]
pub struct Page {
    /// Program and command: `etcdctl member add`.
    pub title: String,
    pub text: String,
    pub commands: Vec<Page>,
}

pub fn read(file: &Path, program: &Program) -> Result<Page> {
    page(file, program.name, &[])
}

fn page(file: &Path, name: &str, arguments: &[&str]) -> Result<Page> {
    let title = [&[name], arguments].concat().join(" ");
    if arguments.len() > MAX_DEPTH {
        bail!("{title}: more than {MAX_DEPTH} levels of commands");
    }
    let mut command = Command::new(file);
    // Without environment variables: some help texts print the values of those that set flags.
    command.arg0(name).args(arguments).arg("--help").env_clear();
    let output = command.output().with_context(|| format!("cannot run {}", file.display()))?;
    let printed = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let text: String = String::from_utf8_lossy(printed)
        .lines()
        .map(|line| format!("{}\n", line.trim_end().replace('\t', "    ")))
        .collect();
    let mut commands = Vec::new();
    for below in commands_of(&text) {
        commands.push(page(file, name, &[arguments, &[below]].concat())?);
    }
    Ok(Page { title, text: text.trim_matches('\n').to_owned(), commands })
}

/// Names in the list of commands: the first word of each line with the list's indentation.
fn commands_of(text: &str) -> Vec<&str> {
    let list: Vec<&str> = text
        .lines()
        .skip_while(|line| !COMMANDS.contains(line))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let Some(own) = list.iter().map(|line| indent(line)).min() else { return Vec::new() };
    let names =
        list.iter().filter(|line| indent(line) == own).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != HELP).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_both_forms_of_lists() {
        for (text, expected) in [
            (
                "NAME:\n   a - b\n\nCOMMANDS:\n   get       print\n   member    list\n   help      show\n\nOPTIONS:\n   --x  y\n",
                &["get", "member"][..],
            ),
            (
                "Usage: a <COMMAND>\n\nCommands:\n  diff    Lists what\n          differs\n  help    Print this\n\nOptions:\n",
                &["diff"],
            ),
            ("Usage: a\n\nOptions:\n  -h  Print help\n", &[]),
        ] {
            assert_eq!(commands_of(text), expected);
        }
    }
}
