//! Measured figures: rows of the tables in `docs/benchmarks.md`.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, require_success, show_and_read};

pub struct Figure {
    pub what: String,
    /// Empty without a target.
    pub target: Cow<'static, str>,
    pub measured: String,
    pub command: String,
}

/// Formats rows for `docs/benchmarks.md`, with date and machine left empty.
pub fn rows(figures: &[Figure]) -> String {
    let mut text =
        String::from("| what | target | measured | command | date | machine |\n|---|---|---|---|---|---|\n");
    for Figure { what, target, measured, command } in figures {
        text += &format!("| {what} | {target} | {measured} | `{command}` | | |\n");
    }
    text
}

/// Runs a bench target and returns the figures that it prints.
pub fn bench(root: &Path, package: &str, name: &str, arguments: &[&str]) -> Result<Vec<Figure>> {
    bench_with(root, "bench", (package, name), arguments)
}

/// As [`bench()`], compiled with this profile of cargo.
pub fn bench_with(
    root: &Path,
    profile: &str,
    (package, name): (&str, &str),
    arguments: &[&str],
) -> Result<Vec<Figure>> {
    let mut all = vec!["bench", "--locked", "--quiet", "--profile", profile];
    all.extend(["--package", package, "--bench", name, "--"]);
    all.extend(arguments);
    let ended = require_success(show_and_read(&mut cargo(root, &all))?)?;
    eprint!("{}", ended.stdout);
    let command = format!("cargo bench -p {package} --bench {name}");
    figures(&ended.stdout, &command).with_context(|| format!("what {command} printed"))
}

/// Parses lines of `figure`, name, target and measured value, separated by tabs; other lines are ignored.
pub fn figures(text: &str, command: &str) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("figure\t")) {
        let [_, what, target, measured] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("a figure is not of three parts: {line:?}");
        };
        figures.push(Figure {
            what: what.into(),
            target: target.to_owned().into(),
            measured: measured.into(),
            command: command.into(),
        });
    }
    if figures.is_empty() {
        bail!("no figure is there");
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_lines_of_three_parts() {
        let text = "told\nfigure\ta pass\t<= 50 ms\t3 ms\nfigure\tanother\t\t4 ms\n";
        let got = figures(text, "c").unwrap();
        assert_eq!(
            (got[0].what.as_str(), &*got[0].target, got[0].measured.as_str()),
            ("a pass", "<= 50 ms", "3 ms")
        );
        assert_eq!((got[1].what.as_str(), &*got[1].target), ("another", ""));
        assert!(figures("figure\ta\tb\n", "c").is_err());
        assert!(figures("nothing\n", "c").is_err());
    }
}
