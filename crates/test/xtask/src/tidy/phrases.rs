//! Rejects spellings and phrases that etcd's, systemd's and Cargo's documentation do not use.

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// Forbidden phrases with replacements; also matched with underscores, as in function names.
const PHRASES: [(&str, &str); 4] =
    [("can not", "cannot"), ("for ever", "forever"), ("till", "until"), ("of the house", "of the project")];
/// Extensions of files with prose.
const KINDS: [&str; 8] = ["rs", "md", "toml", "js", "html", "service", "timer", "yaml"];
/// Verbatim messages of the original programs.
const VERBATIM: [&str; 1] = ["Warning: can not replace Unit("];
/// This list itself.
const THIS_FILE: &str = "crates/test/xtask/src/tidy/phrases.rs";

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    let read_by_people = |file: &&std::path::PathBuf| {
        file.extension().is_some_and(|kind| KINDS.iter().any(|one| kind == *one))
            && !file.ends_with(THIS_FILE)
    };
    for file in workspace.files.iter().filter(read_by_people) {
        let text = workspace.read(file)?;
        for (index, line) in text.lines().enumerate() {
            for (phrase, term) in found(line) {
                let message = format!("`{phrase}`: write `{term}`");
                findings.push(Finding::new(format!("{}:{}", file.display(), index + 1), message));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// The forbidden phrases in a line.
fn found(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let original = VERBATIM.iter().any(|text| line.contains(text));
    let plain = format!(" {} ", line.to_lowercase().replace('_', " "));
    let stands = move |phrase: &str| {
        let word = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        plain.match_indices(phrase).any(|(at, _)| {
            let (before, behind) = (&plain[..at], &plain[at + phrase.len()..]);
            !word(before.chars().next_back()) && !word(behind.chars().next())
        })
    };
    PHRASES.into_iter().filter(move |(phrase, _)| !original && stands(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn what_is_not_written_is_found() {
        let check = |line: &str, expected: &[&str]| {
            let phrases: Vec<_> = found(line).map(|(phrase, _)| phrase).collect();
            assert_eq!(phrases, expected, "{line}");
        };
        check("/// It can not wait for ever.", &["can not", "for ever"]);
        check("fn what_can_not_be_read() {", &["can not"]);
        check("Till the end, until the end", &["till"]);
        check("it cannot, it still waits forever", &[]);
        check("Warning: can not replace Unit(a.service) in state 'launched'", &[]);
    }

    #[test]
    fn in_files_that_people_read() {
        let made = with_files(&[
            ("a.rs", "\n// for ever"),
            ("b.md", "till"),
            ("c.bin", "till"),
            (THIS_FILE, "till"),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["a.rs:2: `for ever`: write `forever`", "b.md:1: `till`: write `until`"]);
    }
}
