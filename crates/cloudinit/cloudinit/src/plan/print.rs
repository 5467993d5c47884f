//! Prints a plan as JSON lines (contract 4.1), without contents and password hashes.

use std::ops::Not;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::step::{Action, FileKind, FileWrite, Plan, Step};
use crate::key_import::KeyImport;

#[derive(Serialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Line<'a> {
    Hostname {
        name: &'a str,
    },
    Useradd {
        name: &'a str,
        argv: &'a [String],
    },
    Groupadd {
        name: &'a str,
    },
    GroupMember {
        group: &'a str,
        user: &'a str,
    },
    Passwd {
        name: &'a str,
        hash: &'static str,
    },
    LockPasswd {
        name: &'a str,
    },
    SshKeys {
        user: &'a str,
        name: &'a str,
        keys: &'a [String],
    },
    ImportSshKeys {
        user: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        github: Option<&'a str>,
    },
    InterfaceDown {
        name: &'a str,
    },
    Modprobe {
        argv: &'a [String],
    },
    Timezone {
        name: &'a str,
    },
    Write {
        path: &'a str,
        mode: String,
        owner: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// Whether the content is downloaded, so that size and checksum are unknown.
        #[serde(skip_serializing_if = "Not::not")]
        fetched: bool,
        /// How an existing file is treated, unless it is replaced.
        #[serde(skip_serializing_if = "Option::is_none")]
        existing: Option<&'static str>,
    },
    Mask {
        path: &'a str,
    },
    Unmask {
        path: &'a str,
    },
    Enable {
        unit: &'a str,
        runtime: bool,
    },
    DaemonReload,
    Unit {
        unit: &'a str,
        command: &'a str,
    },
    Script {
        sha256: String,
    },
}

#[derive(Serialize)]
struct WithReason<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    why: &'a str,
}

/// Returns one JSON object per line.
///
/// # Errors
/// Never in practice: all values are text or numbers.
pub fn print(plan: &Plan) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for line in lines(plan) {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

/// The lines of [`print()`] as serializable values, to embed them in a larger document.
pub fn lines(plan: &Plan) -> impl Iterator<Item = impl Serialize + '_> {
    plan.steps.iter().map(|step| WithReason { line: line(step), why: &step.why })
}

fn line(step: &Step) -> Line<'_> {
    match &step.action {
        Action::Hostname { name } => Line::Hostname { name },
        Action::UserAdd { name, arguments } => Line::Useradd { name, argv: arguments },
        Action::GroupAdd { name } => Line::Groupadd { name },
        Action::GroupMember { group, user } => Line::GroupMember { group, user },
        Action::Password { name, .. } => Line::Passwd { name, hash: "***" },
        Action::LockPassword { name } => Line::LockPasswd { name },
        Action::SshKeys { user, name, keys } => Line::SshKeys { user, name, keys },
        Action::ImportKeys { user, name, from } => Line::ImportSshKeys {
            user,
            name,
            // A URL may contain a password.
            github: match from {
                KeyImport::GitHub(account) => Some(account),
                KeyImport::Url(_) => None,
            },
        },
        Action::InterfaceDown { name } => Line::InterfaceDown { name },
        Action::Modprobe { arguments } => Line::Modprobe { argv: arguments },
        Action::TimeZone { name } => Line::Timezone { name },
        Action::Write(file) => write(file, false),
        Action::Fetch { write: file, .. } => write(file, true),
        Action::Mask { path } => Line::Mask { path },
        Action::Unmask { path } => Line::Unmask { path },
        Action::Enable { unit, runtime } => Line::Enable { unit, runtime: *runtime },
        Action::DaemonReload => Line::DaemonReload,
        Action::Unit { unit, command, .. } => Line::Unit { unit, command },
        Action::Script { content, .. } => Line::Script { sha256: sha256(content) },
    }
}

/// Omits the URL of fetched content: it may contain a password.
fn write(file: &FileWrite, fetched: bool) -> Line<'_> {
    Line::Write {
        path: &file.path,
        mode: format!("{:04o}", file.mode),
        owner: &file.owner,
        size: (!fetched).then_some(file.content.len()),
        sha256: (!fetched).then(|| sha256(&file.content)),
        fetched,
        existing: match file.kind {
            FileKind::CreateOnly => Some("keep"),
            FileKind::Append { .. } => Some("append"),
            _ => None,
        },
    }
}

/// In lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
