//! The project's checks: `cargo verify` only reads, `cargo fix-all` writes.
//!
//! Invariants: `verify` never writes to a tracked file, and never counts a check that could not run as passed.

mod advisories;
mod api_docs;
mod bench;
mod cargo_build;
mod command;
mod debian_packages;
mod fix_all;
mod fuzz;
mod interrupt;
mod keelson;
mod manual;
mod mutate;
mod node_programs;
mod pictures;
mod reference;
mod root_access;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use verify::Verdict;
use workspace::Workspace;

/// Exit code of an invalid command line.
const WRONG_USE: u8 = 2;
/// Exit code of a `verify` in which nothing failed but something did not run.
const INCOMPLETE: u8 = 3;

/// Checks of the Keelson checkout.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo")]
struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs every check, or the named ones; writes to no tracked file
    Verify(verify::Flags),
    /// Takes the times of the last `verify` into .ci/costs.json
    Record(verify::RecordFlags),
    /// Formats, and applies what clippy can mend by itself
    FixAll,
    /// Measures the figures of docs/benchmarks.md and prints its rows
    Bench {
        #[arg(value_enum)]
        topics: Vec<bench::Topic>,
        /// After `--`. For `kv` and `growth`: the flags of kv-bench or kv-growth, where not our release and Debian's
        /// etcd are to be compared `--ours PATH` and `--reference PATH`; for `fleet` its parts; for `payload` the folders
        /// of an old and a new image; for `install` a raw image
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Looks for inputs that break a target of crates/test/fuzz, guided by coverage
    Fuzz(fuzz::Flags),
    Advisories(advisories::Flags),
    Mutate(mutate::Flags),
    Manual(manual::Flags),
    /// Draws the diagrams of the documentation from their text, and takes the screenshots
    Pictures,
    /// Builds the API documentation of all packages, with ARCHITECTURE.md as the front page
    Doc,
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().verb {
        Verb::Verify(flags) => match verify::run(&flags) {
            Ok(Verdict::Incomplete) => return ExitCode::from(INCOMPLETE),
            other => other.map(|verdict| verdict == Verdict::Verified),
        },
        Verb::Record(flags) => verify::record(&flags).map(|()| true),
        Verb::FixAll => fix_all::run(),
        Verb::Fuzz(flags) => fuzz::run(&workspace::root(), &flags),
        Verb::Advisories(flags) => advisories::run(&workspace::root(), &flags),
        Verb::Mutate(flags) => mutate::run(&workspace::root(), &flags),
        Verb::Manual(flags) => manual::run(&workspace::root(), &flags),
        Verb::Pictures => pictures::run(&workspace::root()),
        Verb::Doc => Workspace::load(&workspace::root()).and_then(|workspace| api_docs::build(&workspace)),
        Verb::Bench { topics, words } => bench::run(&topics, &words),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            let wrong_use = error.is::<verify::UnknownStep>()
                || error.is::<verify::UnknownPart>()
                || error.is::<mutate::UnknownMutant>();
            if wrong_use { ExitCode::from(WRONG_USE) } else { ExitCode::FAILURE }
        }
    }
}
