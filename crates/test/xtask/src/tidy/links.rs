//! The documentation refers to what exists: links to files and headings, and paths of the checkout in code spans.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// A code span with one of these prefixes is a path of the checkout.
const FOLDERS: [&str; 8] = [".ci/", "cloud-config/", "crates/", "docs/", "image/", "os/", "qemu/", "units/"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| is_markdown(file)) {
        let text = workspace.read(file)?;
        for (index, line) in text.lines().enumerate() {
            let location = || format!("{}:{}", file.display(), index + 1);
            for path in paths(line).filter(|path| !exists(workspace, Path::new(path))) {
                findings.push(Finding::new(location(), format!("{path} does not exist")));
            }
            for target in targets(line) {
                if !is_valid(workspace, file, target)? {
                    findings.push(Finding::new(location(), format!("the link {target} leads nowhere")));
                }
            }
        }
    }
    Ok(Outcome::of(findings))
}

fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|kind| kind == "md")
}

/// Whether it is a tracked file, or a folder with tracked files.
fn exists(workspace: &Workspace, path: &Path) -> bool {
    workspace.files.iter().any(|file| file.starts_with(path))
}

/// Paths in the code spans of a line, except those with an upper-case placeholder.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.filter(|span| {
        let plain = |char: char| char.is_ascii_alphanumeric() || "_./-".contains(char);
        let placeholder = |part: &str| part.len() > 1 && !part.contains('.') && part == part.to_uppercase();
        FOLDERS.iter().any(|folder| span.starts_with(folder))
            && span.chars().all(plain)
            && !span.split('/').any(placeholder)
    })
}

/// Targets of a line's links, except web links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let behind = line.split("](").skip(1);
    behind.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).filter(|t| !t.contains("://"))
}

fn is_valid(workspace: &Workspace, from: &Path, target: &str) -> Result<bool> {
    let (path, heading) =
        target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let file = if path.is_empty() { from.to_owned() } else { resolve(from, path) };
    if !exists(workspace, &file) {
        return Ok(false);
    }
    let Some(heading) = heading.filter(|_| is_markdown(&file)) else { return Ok(heading.is_none()) };
    let text = workspace.read(&file)?;
    Ok(text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading))
}

/// Resolves a path relative to `from` against the checkout's root.
fn resolve(from: &Path, path: &str) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in from.parent().unwrap_or(Path::new("")).join(path).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            other => whole.push(other),
        }
    }
    whole
}

/// The anchor of a heading, as GitHub and mdBook generate it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn what_does_not_exist_is_found() {
        let made = with_files(&[
            (
                "README.md",
                "[a](docs/a.md#two-words) [b](docs/b.md) [c](docs/a.md#three)\n[web](https://a/b)\n",
            ),
            ("docs/a.md", "# Two words\n[up](../README.md) [here](#two-words) [not](#here)\n"),
            ("crates/x/src/lib.rs", ""),
            (
                "docs/c.md",
                "`crates/x`, `crates/x/src/`, `crates/x/src/lib.rs`\n`crates/y`, `os/{a,b}`, `crates/TARGET`\n",
            ),
        ]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "README.md:1: the link docs/b.md leads nowhere",
                "README.md:1: the link docs/a.md#three leads nowhere",
                "docs/a.md:2: the link #here leads nowhere",
                "docs/c.md:2: crates/y does not exist",
            ]
        );
    }
}
