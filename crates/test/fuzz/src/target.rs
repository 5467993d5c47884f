//! What a target is, and where its kept inputs stand.

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

impl Target {
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
