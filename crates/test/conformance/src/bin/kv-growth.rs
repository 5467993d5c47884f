//! Measures how the reference and our etcd scale with keys, values and members, as a chart and JSON: `cargo xtask
//! bench growth`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use conformance::backend::Program;
use conformance::failure::Failure;
use conformance::load::{PANELS, Point, Settings, Side, charts, growth, plot};

/// Measures growth with keys (1e3 to 1e6), values (64 B to 64 KiB) and members (1 to 7), once each.
#[derive(Parser)]
struct Flags {
    /// Our program `etcd`
    #[arg(long)]
    ours: PathBuf,
    /// The reference's program (default: Debian's etcd)
    #[arg(long)]
    reference: Option<PathBuf>,
    /// Data of both goes below it: its disk is what is measured
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    /// Length of each load
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// The picture to write (SVG)
    #[arg(long)]
    plot: PathBuf,
    /// Where to write all values as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", service::error::chain(&failure));
            ExitCode::FAILURE
        }
    }
}

fn measure(flags: &Flags) -> Result<(), Failure> {
    let mut reference = Program::reference();
    if let Some(path) = &flags.reference {
        reference.path.clone_from(path);
    }
    let mut points: Vec<(Side, Point)> = Vec::new();
    for (side, program) in [(Side::Reference, reference), (Side::Ours, Program::etcd(&flags.ours))] {
        eprintln!("{side:?}: {}", program.path.display());
        let settings =
            Settings { program, folder: flags.folder.clone(), time: Duration::from_secs(flags.seconds) };
        let found = growth(&settings, &mut |point| {
            let Point { panel, at, value } = point;
            eprintln!("    {}, {at} {}: {value:.1} {}", panel.what, panel.along, panel.unit);
        })?;
        points.extend(found.into_iter().map(|point| (side, point)));
    }
    print!("{}", rows(&points));
    let failed = |error: std::io::Error| Failure::io("write what was measured")(error);
    plot(&flags.plot, "Growth: etcd 3.4 and Keelson", &charts(&points))
        .map_err(|error| failed(std::io::Error::other(error)))?;
    if let Some(path) = &flags.json {
        let text = serde_json::to_string_pretty(&points).map_err(|error| failed(error.into()))?;
        std::fs::write(path, text).map_err(failed)?;
    }
    Ok(())
}

/// A table of all points, both sides in one row.
fn rows(points: &[(Side, Point)]) -> String {
    let mut text =
        String::from("| what | along | at | etcd | Keelson | ratio |\n|---|---|---|---|---|---|\n");
    for panel in PANELS {
        let of = |target_side| {
            let selected = move |(side, point): &&(Side, Point)| *side == target_side && point.panel == panel;
            points.iter().filter(selected).map(|(_, point)| point)
        };
        for (reference, ours) in of(Side::Reference).zip(of(Side::Ours)) {
            let ratio = ours.value / reference.value;
            text += &format!(
                "| {} ({}) | {} | {} | {:.1} | {:.1} | {ratio:.2} |\n",
                panel.what, panel.unit, panel.along, ours.at, reference.value, ours.value
            );
        }
    }
    text
}
