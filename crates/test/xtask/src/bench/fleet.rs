//! Benchmarks of fleet: its scheduler, its growth in simulation, and three nspawn nodes.

mod nodes;

use std::path::Path;

use anyhow::{Result, bail};

use super::figure::{bench, rows};

/// The parts in their order; all of them run unless some are named.
const PARTS: [&str; 6] = ["schedule", "growth", "bystander", "starts", "dies", "thousand"];
/// The plot of the growth, below the target folder.
const PLOT: &str = "fleet-growth.svg";

/// Measures the named parts; returns whether all could be measured.
pub fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    if let Some(unknown) = arguments.iter().find(|word| !PARTS.contains(&word.as_str())) {
        bail!("no part {unknown:?} of `fleet`: there are {}", PARTS.join(", "));
    }
    let target = root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let plot = target.join(PLOT);
    let mut all_well = true;
    for part in PARTS.iter().filter(|part| arguments.is_empty() || arguments.iter().any(|word| word == *part))
    {
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
