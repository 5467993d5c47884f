//! `/run/keelson/health.json`: what became of the checks, for the update agent, the login banner and people.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use service::file::replace;

use super::check::Check;
use crate::root::Root;

const FOLDER: &str = "/run/keelson";
const FILE: &str = "health.json";
const MODE: u32 = 0o644;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not decided yet.
    Checking,
    Healthy,
    Unhealthy,
    /// On trial, and too few members of the cluster can be reached: looked at again later, without a restart.
    Waiting,
}

#[derive(Debug, Serialize)]
pub struct Report<'a> {
    pub state: Health,
    pub version: Option<&'a str>,
    pub boot_id: &'a str,
    /// Whether this machine restarts, and in the end takes another version, when it is unhealthy.
    pub trial: bool,
    /// What is wrong, in one line; none where nothing is.
    pub why: Option<String>,
    pub checks: &'a [Check],
}

/// What others than the checks themselves want to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Brief {
    pub state: Health,
    #[serde(default)]
    pub why: Option<String>,
}

/// # Errors
/// The file cannot be written.
pub fn write(root: &Root, report: &Report<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    fs::create_dir_all(root.at(FOLDER))?;
    replace(&root.at(FOLDER).join(FILE), &text, MODE)
}

/// None where no checks ran in this boot.
pub fn read(root: &Root) -> Option<Brief> {
    let text = fs::read(root.at(FOLDER).join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

pub fn is_healthy(root: &Root) -> bool {
    read(root).is_some_and(|brief| brief.state == Health::Healthy)
}

pub fn is_waiting(root: &Root) -> bool {
    read(root).is_some_and(|brief| brief.state == Health::Waiting)
}

/// What stands in the way, by name.
pub fn why(checks: &[Check]) -> Option<String> {
    let all: Vec<_> = checks
        .iter()
        .filter(|check| check.is_in_the_way())
        .map(|check| format!("{}: {}", check.name, check.why))
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}
