//! The cluster manager: its scheduler, its growth in simulation, and what it does on nspawn nodes.

mod nodes;

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::figure::{Figure, rows};
use crate::command::{cargo, show_and_read, succeed};

/// The parts, in their order; all where none is named.
const PARTS: [&str; 5] = ["schedule", "growth", "starts", "dies", "thousand"];
/// Where the plot of the growth is left, below the target folder.
const PLOT: &str = "fleet-growth.svg";

/// `words` are parts. True when all that was asked for could be measured, whatever it is.
pub fn run(root: &Path, words: &[String]) -> Result<bool> {
    if let Some(unknown) = words.iter().find(|word| !PARTS.contains(&word.as_str())) {
        bail!("no part {unknown:?} of `fleet`: there are {}", PARTS.join(", "));
    }
    let target = root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let plot = target.join(PLOT);
    let mut all_well = true;
    for part in PARTS.iter().filter(|part| words.is_empty() || words.iter().any(|word| word == *part)) {
        let found = match *part {
            "schedule" => bench(root, "cluster", "schedule", &[]),
            "growth" => bench(root, "fleet-node", "growth", &["--plot", &plot.to_string_lossy()]),
            "starts" => nodes::starts_and_silence(root),
            "dies" => nodes::dies(root),
            _ => nodes::thousand(root),
        };
        match found {
            Ok(figures) => print!("{}", rows(&figures)),
            Err(error) => {
                eprintln!("not measured: {part}: {error:#}");
                all_well = false;
            }
        }
    }
    Ok(all_well)
}

/// The figures that a bench target prints.
fn bench(root: &Path, package: &str, name: &str, words: &[&str]) -> Result<Vec<Figure>> {
    let mut all = vec!["bench", "--locked", "--quiet", "--package", package, "--bench", name, "--"];
    all.extend(words);
    let ended = succeed(show_and_read(&mut cargo(root, &all))?)?;
    eprint!("{}", ended.stdout);
    let command = format!("cargo bench -p {package} --bench {name}");
    figures(&ended.stdout, &command).with_context(|| format!("what {command} printed"))
}

/// Lines of `figure`, what, target and measured, with tabs between; others are for people.
fn figures(text: &str, command: &str) -> Result<Vec<Figure>> {
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
