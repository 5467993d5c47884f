//! `cargo xtask advisories`: advisories of RustSec for the crates of `Cargo.lock`.
//!
//! Reads a dated copy of the database, and never the network unless `--refresh` is set.

mod advisory;
mod check;
mod database_copy;

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;

pub use check::Report;

/// Checks the crates of Cargo.lock against the advisories of RustSec
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Folder with the database [default: KEELSON_ADVISORIES, or keelson/advisories in the cache folder]
    #[arg(long, value_name = "DIR")]
    database: Option<PathBuf>,
    /// Downloads the database first (git)
    #[arg(long)]
    refresh: bool,
    /// Where the database is downloaded from
    #[arg(long, value_name = "URL", default_value = database_copy::URL)]
    source: String,
}

pub fn run(root: &Path, flags: &Flags) -> Result<bool> {
    let folder = match &flags.database {
        Some(folder) => std::path::absolute(folder)?,
        None => database_copy::default_folder()?,
    };
    if flags.refresh {
        database_copy::refresh(&folder, &flags.source, |new| check::database(new).map(drop))?;
    } else if !folder.exists() {
        anyhow::bail!(
            "there is no copy of the RustSec advisory database in {}: --refresh downloads it",
            folder.display()
        );
    }
    let report = report(root, &folder)?;
    let date = database_copy::date(&folder).ok().flatten();
    let date = date.map_or("of unknown date".to_owned(), |date| format!("of {}", date.strftime("%Y-%m-%d")));
    println!(
        "{} crates, {} findings, {} notes; database {date}",
        report.crates,
        report.findings.len(),
        report.notes.len()
    );
    Ok(report.findings.is_empty())
}

/// The check, with its findings and notes on stderr.
fn report(root: &Path, folder: &Path) -> Result<Report> {
    let report = check::check(root, &check::database(folder)?)?;
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    Ok(report)
}

/// The result for `verify`.
pub enum Outcome {
    NoCopy,
    Checked { report: Report, date: Timestamp },
}

/// Checks with the copy in the default folder.
pub fn check_with_copy(root: &Path) -> Result<Outcome> {
    check_with(root, &database_copy::default_folder()?)
}

pub fn check_with(root: &Path, folder: &Path) -> Result<Outcome> {
    match database_copy::date(folder)? {
        Some(date) => Ok(Outcome::Checked { report: report(root, folder)?, date }),
        None => Ok(Outcome::NoCopy),
    }
}
