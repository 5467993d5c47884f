//! The result of a run, kept for `-status` (contract 3.4). It never holds contents.

use anyhow::{Context, bail};
use cloudinit::Finding;
use host::files::{self, DIRECTORY_MODE, Owner, Request as FileRequest};
use host::{FileError, Root};
use serde::Serialize;

use crate::flags::Request;

const PATH: &str = "/run/coreos-cloudinit/result.json";
const MODE: u32 = 0o600;
const MAX_BYTES: usize = 4 << 20;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub source: String,
    pub kind: String,
    /// Of the user-data as it was fetched.
    pub sha256: String,
    pub findings: Vec<Finding>,
    pub failed: Vec<Failure>,
    /// Done without: the run has not failed for it.
    pub missed: Vec<Failure>,
    /// Steps that changed something.
    pub changed: u32,
    pub steps: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    pub step: String,
    pub error: String,
}

pub fn store(root: &Root, report: &Report) -> Result<(), FileError> {
    let mut content = serde_json::to_vec(report).map_err(|source| FileError::System {
        what: "write",
        path: PATH.to_owned(),
        source: source.into(),
    })?;
    content.push(b'\n');
    let owner = Owner::default();
    let request =
        FileRequest { path: PATH, mode: MODE, owner, content: &content, directory_mode: DIRECTORY_MODE };
    files::write(root, &request).map(drop)
}

/// Prints the last run's result.
pub fn print(request: &Request) -> anyhow::Result<bool> {
    let root = Root::open(&request.root)?;
    let Some(content) = files::read(&root, PATH, MAX_BYTES)? else {
        bail!("there was no run since the machine was started");
    };
    let text = String::from_utf8(content).with_context(|| format!("{PATH} is not text"))?;
    print!("{text}");
    Ok(true)
}
