//! The result of a run, stored for `-status` (contract 3.4). It never contains contents.

use anyhow::{Context, bail};
use cloudinit::Finding;
use host::files::{self, DIRECTORY_MODE, Owner, Request as FileRequest};
use host::systemd::{ServiceState, Systemd};
use host::{FileError, Root};
use serde::{Deserialize, Serialize};

use crate::flags::Request;
use crate::log::Log;
use crate::rights::{self, ExtraRights};

const PATH: &str = "/run/coreos-cloudinit/result.json";
const MODE: u32 = 0o600;
const MAX_BYTES: usize = 4 << 20;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub source: String,
    pub kind: String,
    /// Of the user-data as fetched.
    pub sha256: String,
    pub findings: Vec<Finding>,
    pub failed: Vec<Failure>,
    /// Optional steps that failed; they do not fail the run.
    pub missed: Vec<Failure>,
    /// Units of the scripts, which outlive the run; systemd has their results.
    pub scripts: Vec<String>,
    /// Number of steps that changed something.
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

/// The part of a stored report that `-status` updates.
#[derive(Deserialize)]
struct Scripts {
    scripts: Vec<String>,
}

/// The state of a script's unit.
#[derive(Serialize)]
struct ScriptState<'a> {
    unit: &'a str,
    state: &'static str,
    /// systemd's `Result=` of a failed unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
}

/// Prints the last run's result with the current states of its scripts.
pub fn print(request: &Request, log: &Log) -> anyhow::Result<bool> {
    rights::read_only(&ExtraRights { services: true, ..ExtraRights::default() }, log, || {
        print_updated(request)
    })?
}

fn print_updated(request: &Request) -> anyhow::Result<bool> {
    let root = Root::open(&request.root)?;
    let Some(content) = files::read(&root, PATH, MAX_BYTES)? else {
        bail!("there was no run since the machine was started");
    };
    let text = String::from_utf8(content).with_context(|| format!("{PATH} is not text"))?;
    let Scripts { scripts } = serde_json::from_str(&text).with_context(|| format!("{PATH} is not valid"))?;
    let may_query = !scripts.is_empty() && (root.is_machine() || request.root_run);
    let systemd = may_query.then(Systemd::connect).and_then(Result::ok);
    let states: Vec<_> = scripts.iter().map(|unit| script_state(unit, systemd.as_ref())).collect();
    // Replaces the serialized list. It cannot match inside a string, where quotes are escaped.
    let names = format!("\"scripts\":{}", serde_json::to_string(&scripts)?);
    let states = format!("\"scripts\":{}", serde_json::to_string(&states)?);
    print!("{}", text.replacen(&names, &states, 1));
    Ok(true)
}

fn script_state<'a>(unit: &'a str, systemd: Option<&Systemd>) -> ScriptState<'a> {
    let known = |state| ScriptState { unit, state, result: None, status: None };
    match systemd.map(|systemd| systemd.service_state(unit)) {
        None | Some(Err(_)) => known("unknown"),
        Some(Ok(None)) => known("ended"),
        Some(Ok(Some(state))) => match &*state.active {
            "failed" => {
                let ServiceState { result, status, .. } = state;
                ScriptState { unit, state: "failed", result: Some(result), status: Some(status) }
            }
            "inactive" => known("ended"),
            _ => known("running"),
        },
    }
}
