//! A fuzz target and its corpus.

use std::io;
use std::path::{Path, PathBuf};

/// A function over bytes, with its corpus.
pub struct Target {
    pub name: &'static str,
    /// Completes the sentence "whatever comes, ...".
    pub about: &'static str,
    /// Panics if the property is violated.
    pub run: fn(&[u8]),
    /// Generated inputs with high coverage: encoded by the code under test, so that they follow format changes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Folder of the corpus: inputs that once failed, and inputs with high coverage.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// The corpus with file names, then the seeds.
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
