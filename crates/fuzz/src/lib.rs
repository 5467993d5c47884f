//! What is thrown at everything that reads bytes of strangers, of other members or of a disk.
//!
//! Each target is one function over bytes that panics when a promise does not hold. It is defined once and runs
//! twice: `tests/corpus.rs` tries the kept inputs and mutations of them in seconds, and libFuzzer looks for new
//! ways through the code for as long as it is let (`cargo xtask fuzz TARGET`). A target must never touch the
//! network beyond the loopback, nor files outside of its own temporary folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says by a panic what does not hold"
)]

mod answers;
mod input;
mod targets;

use std::io;
use std::path::{Path, PathBuf};

/// One function over bytes.
pub struct Target {
    pub name: &'static str,
    /// Completes the sentence "whatever comes, ...".
    pub about: &'static str,
    /// Panics when that does not hold.
    pub run: fn(&[u8]),
    /// Inputs that go far, made by the code that writes such bytes: they follow its formats by themselves.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub static ALL: &[Target] = &[
    targets::checkpoint::TARGET,
    targets::client::TARGET,
    targets::commands::TARGET,
    targets::config::TARGET,
    targets::discovery::TARGET,
    targets::http::TARGET,
    targets::log::TARGET,
    targets::peer::TARGET,
];

impl Target {
    pub fn named(name: &str) -> Option<&'static Target> {
        ALL.iter().find(|target| target.name == name)
    }

    /// Where its kept inputs stand: what once broke it, and what reaches far.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// The kept inputs with their names, then the seeds.
    pub fn inputs(&self) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut inputs = Vec::new();
        match self.corpus().read_dir() {
            Ok(entries) => {
                for entry in entries {
                    let path = entry?.path();
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    inputs.push((name, std::fs::read(path)?));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        inputs.sort();
        let seeds = (self.seeds)().into_iter().enumerate();
        inputs.extend(seeds.map(|(number, bytes)| (format!("seed {number}"), bytes)));
        Ok(inputs)
    }
}
