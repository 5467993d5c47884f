//! Runs the reference and our etcd alternately through the same sessions and prints one table: `cargo xtask bench
//! kv`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use conformance::backend::Program;
use conformance::failure::Failure;
use conformance::load::{Figure, Settings, Side, one_member, table, three_members, three_members_with_tls};

/// Measures a key-value server against etcd: medians of runs in turn, A B A B.
#[derive(Parser)]
struct Flags {
    /// Our program `etcd` (default: the reference again, which shows the noise)
    #[arg(long)]
    ours: Option<PathBuf>,
    /// More arguments for ours
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    ours_arguments: String,
    /// The reference's program (default: Debian's etcd)
    #[arg(long)]
    reference: Option<PathBuf>,
    /// More arguments for the reference
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    reference_arguments: String,
    /// Data of both goes below it: its disk is what is measured
    #[arg(long, default_value = "/var/tmp")]
    folder: PathBuf,
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Length of each load
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only these sessions: `one`, `three`, `tls`
    #[arg(long, value_delimiter = ',', default_value = "three,one,tls")]
    sessions: Vec<String>,
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
    let ours = flags.ours.as_ref().map_or_else(|| reference.clone(), Program::etcd);
    let sides = [
        (Side::Reference, reference.with(&flags.reference_arguments)),
        (Side::Ours, ours.with(&flags.ours_arguments)),
    ];
    let mut figures: Vec<Figure> = Vec::new();
    for run in 1..=flags.runs {
        for session in &flags.sessions {
            for (side, program) in &sides {
                eprintln!("run {run} of {}: {session}, {side:?}: {}", flags.runs, program.path.display());
                let settings = Settings {
                    program: program.clone(),
                    folder: flags.folder.clone(),
                    time: Duration::from_secs(flags.seconds),
                };
                let values = match session.as_str() {
                    "three" => three_members(&settings)?,
                    "one" => one_member(&settings)?,
                    "tls" => three_members_with_tls(&settings)?,
                    other => {
                        return Err(Failure::differs(format!("`{other}` is no session: one, three, tls")));
                    }
                };
                for (what, unit, better, target, value) in values {
                    eprintln!("    {what}: {value:.3} {unit}");
                    let index = figures.iter().position(|figure| figure.what == what);
                    let index = index.unwrap_or_else(|| {
                        figures.push(Figure::new(&what, unit, better, target));
                        figures.len() - 1
                    });
                    match side {
                        Side::Reference => figures[index].reference.push(value),
                        Side::Ours => figures[index].ours.push(value),
                    }
                }
            }
        }
    }
    print!("{}", table(&figures, "cargo xtask bench kv"));
    if let Some(path) = &flags.json {
        let text = serde_json::to_string_pretty(&figures)
            .map_err(|error| Failure::io("make JSON of the figures")(error.into()))?;
        std::fs::write(path, text).map_err(Failure::io(format!("write {}", path.display())))?;
    }
    Ok(())
}
