//! `/run/keelson/health.json`: the results of the checks, for the update engine, the login banner and
//! operators.

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
    /// On trial without a reachable majority: examined again later, without a reboot.
    Waiting,
}

#[derive(Debug, Serialize)]
pub struct Report<'a> {
    pub state: Health,
    pub version: Option<&'a str>,
    pub boot_id: &'a str,
    /// Whether an unhealthy machine reboots, and finally falls back to another version.
    pub trial: bool,
    /// The failures in one line; `null` if there are none.
    #[serde(rename = "why")]
    pub reason: Option<String>,
    pub checks: &'a [Check],
}

/// The part of the report that other programs read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HealthSummary {
    pub state: Health,
    #[serde(default, rename = "why")]
    pub reason: Option<String>,
}

/// # Errors
/// The file cannot be written.
pub fn write(root: &Root, report: &Report<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    fs::create_dir_all(root.at(FOLDER))?;
    replace(&root.at(FOLDER).join(FILE), &text, MODE)
}

/// `None` if no checks ran in this boot.
pub fn read(root: &Root) -> Option<HealthSummary> {
    let text = fs::read(root.at(FOLDER).join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

pub fn is_healthy(root: &Root) -> bool {
    read(root).is_some_and(|summary| summary.state == Health::Healthy)
}

pub fn is_waiting(root: &Root) -> bool {
    read(root).is_some_and(|summary| summary.state == Health::Waiting)
}

/// The failures that keep the machine from being healthy, by name.
pub fn blocking_reason(checks: &[Check]) -> Option<String> {
    let all: Vec<_> = checks
        .iter()
        .filter(|check| check.is_blocking())
        .map(|check| format!("{}: {}", check.name, check.reason))
        .collect();
    (!all.is_empty()).then(|| all.join("; "))
}
