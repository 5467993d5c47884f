//! A plan as text: one JSON object a line (contract 4.1). Contents and hashes never show.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::step::{Action, Plan, Step};

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Line<'a> {
    Hostname { name: &'a str },
    Useradd { name: &'a str, argv: &'a [String] },
    Passwd { name: &'a str, hash: &'static str },
    SshKeys { user: &'a str, name: &'a str, keys: &'a [String] },
    Write { path: &'a str, mode: String, owner: &'a str, size: usize, sha256: String },
    Mask { path: &'a str },
    Unmask { path: &'a str },
    Enable { unit: &'a str, runtime: bool },
    DaemonReload,
    Unit { unit: &'a str, command: &'a str },
    Script { sha256: String },
}

#[derive(Serialize)]
struct WithReason<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    why: &'a str,
}

/// The lines, each ended by a line break.
///
/// # Errors
/// Never in practice: every value is text or a number.
pub fn print(plan: &Plan) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for step in &plan.steps {
        text.push_str(&serde_json::to_string(&WithReason { line: line(step), why: &step.why })?);
        text.push('\n');
    }
    Ok(text)
}

fn line(step: &Step) -> Line<'_> {
    match &step.action {
        Action::Hostname { name } => Line::Hostname { name },
        Action::UserAdd { name, arguments } => Line::Useradd { name, argv: arguments },
        Action::Password { name, .. } => Line::Passwd { name, hash: "***" },
        Action::SshKeys { user, name, keys } => Line::SshKeys { user, name, keys },
        Action::Write(write) => Line::Write {
            path: &write.path,
            mode: format!("{:04o}", write.mode),
            owner: &write.owner,
            size: write.content.len(),
            sha256: sha256(&write.content),
        },
        Action::Mask { path } => Line::Mask { path },
        Action::Unmask { path } => Line::Unmask { path },
        Action::Enable { unit, runtime } => Line::Enable { unit, runtime: *runtime },
        Action::DaemonReload => Line::DaemonReload,
        Action::Unit { unit, command, .. } => Line::Unit { unit, command },
        Action::Script { content } => Line::Script { sha256: sha256(content) },
    }
}

/// In lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
