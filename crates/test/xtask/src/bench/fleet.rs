//! The cluster manager: its scheduler, its growth in simulation, and what it does on nspawn nodes.

mod nodes;

use std::path::Path;

use anyhow::{Result, bail};

use super::figure::{bench, rows};

/// The parts, in their order; all where none is named.
const PARTS: [&str; 6] = ["schedule", "growth", "bystander", "starts", "dies", "thousand"];
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
            "schedule" => bench(root, "fleet-core", "schedule", &[]),
            "growth" => bench(root, "fleet-node", "growth", &["--plot", &plot.to_string_lossy()]),
            "bystander" => bench(root, "fleet-node", "bystander", &[]),
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
