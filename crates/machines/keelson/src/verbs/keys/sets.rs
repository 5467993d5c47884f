//! Key set operations: rotate, sign, show and publish.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use release::{FileName, Role, files};
use release_folder::{
    Change, KeySetStatus, Replace, latest_status, load_sets, merge_signatures, secret_key_path, status,
};
use serde_json::{Value, json};

use super::created;
use super::location::{DAY_SECONDS, EXPIRES_DAYS, KeysFolder, ensure_complete, now};
use super::password::{NewPasswordFlags, PasswordFlags};
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};

#[derive(Debug, clap::Args)]
pub struct Rotate {
    #[command(flatten)]
    from: KeysFolder,
    /// Replace this key of the folder by a new one: release, channel, root-1, ...
    #[arg(long, value_name = "KEY", value_parser = parse_replace)]
    replace: Vec<Replace>,
    /// Revoke a key: release/own, channel/own, root/root-1
    #[arg(long, value_name = "ROLE/NAME", value_parser = parse_revoke)]
    revoke: Vec<(Role, String)>,
    /// Add a public key: release=second.pub
    #[arg(long, value_name = "ROLE=FILE", value_parser = parse_add)]
    add: Vec<(Role, PathBuf)>,
    /// Number of root keys that must sign the set after this one
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,
    /// Root key outside of the folder to sign with
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Validity of the set in days; machines with an expired set install no updates
    #[arg(long, value_name = "N", default_value_t = EXPIRES_DAYS)]
    expires_days: u64,
    #[command(flatten)]
    password: NewPasswordFlags,
}

#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The set, keys.N.json; the previous set must be in the same folder
    #[arg(value_name = "FILE")]
    set: PathBuf,
    /// Root key to sign with
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Signature of the same set that was created elsewhere
    #[arg(long, value_name = "FILE")]
    collect: Vec<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    from: KeysFolder,
    /// The set, keys.N.json [default: the newest in the folder]
    #[arg(value_name = "FILE")]
    set: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Publish {
    #[command(flatten)]
    from: KeysFolder,
    #[command(flatten)]
    reached: ServerFlags,
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| format!("invalid role `{text}`: expected root, release or channel"))
}

fn parse_replace(text: &str) -> Result<Replace, String> {
    let kind = text.split_once('-').map_or(text, |(kind, _)| kind);
    let name: FileName = text.parse().map_err(|error: release::NameError| error.to_string())?;
    Ok(Replace { role: role(kind)?, file: name.to_string() })
}

fn parse_revoke(text: &str) -> Result<(Role, String), String> {
    let (kind, name) = text.split_once('/').ok_or("expected ROLE/NAME, as printed by `keelson keys show`")?;
    Ok((role(kind)?, name.to_owned()))
}

fn parse_add(text: &str) -> Result<(Role, PathBuf), String> {
    let (kind, path) = text.split_once('=').ok_or("expected ROLE=FILE, such as release=second.pub")?;
    Ok((role(kind)?, path.into()))
}

pub fn rotate(context: &Context, flags: &Rotate) -> anyhow::Result<()> {
    let mut passwords = flags.password.existing.passwords()?;
    let is_encrypted = flags.replace.iter().any(|replace| replace.role != Role::Channel);
    let password = match is_encrypted {
        true => flags.password.new_password(&mut passwords)?,
        false => None,
    };
    let change = Change {
        replace: flags.replace.clone(),
        revoke: flags.revoke.clone(),
        add: flags.add.clone(),
        threshold: flags.threshold,
        signers: flags.key.clone(),
        password,
    };
    let now = now()?;
    let folder = flags.from.folder()?;
    let expires = now + DAY_SECONDS * flags.expires_days;
    let made = release_folder::rotate(&folder, &change, &mut passwords, now, expires)?;
    print_set(context, &made)?;
    let new_roots = flags.replace.iter().filter(|replace| replace.role == Role::Root);
    let new_roots: Vec<_> = new_roots.map(|replace| secret_key_path(&folder, &replace.file)).collect();
    if !context.json && !new_roots.is_empty() {
        output::print(created::separate(&new_roots)?)?;
    }
    Ok(())
}

pub fn sign(context: &Context, flags: &Sign) -> anyhow::Result<()> {
    if flags.key.is_empty() && flags.collect.is_empty() {
        return Err(UsageError("use --key to sign, or --collect to add signatures of others".into()).into());
    }
    let mut passwords = flags.password.passwords()?;
    for key in &flags.key {
        release_folder::sign_set(&flags.set, key, &mut passwords)?;
    }
    print_set(context, &merge_signatures(&flags.set, &flags.collect)?)
}

pub fn show(context: &Context, flags: &Show) -> anyhow::Result<()> {
    let set = match &flags.set {
        Some(path) => status(path)?,
        None => latest_status(&flags.from.folder()?)?,
    };
    print_set(context, &set)
}

pub fn publish(context: &Context, flags: &Publish) -> anyhow::Result<()> {
    let folder = flags.from.folder()?;
    ensure_complete(&latest_status(&folder)?)?;
    let server = UpdateServer::open(context, &flags.reached)?;
    let sent = send(context, &server, &folder)?;
    if context.json {
        return output::print_json(&sent);
    }
    output::print(format!("published set {}; machines accept it with the next update offer\n", sent["epoch"]))
}

/// Sends the sets of a folder in order; returns the server's last response, or null if there are no sets.
pub fn send(context: &Context, server: &UpdateServer, folder: &Path) -> anyhow::Result<Value> {
    let sets = load_sets(folder)?;
    let Some(last) = sets.last() else { return Ok(Value::Null) };
    let server_sets = server.get(&["keys"], &[])?;
    let first = server_sets["epochs"].get(0).and_then(Value::as_u64).unwrap_or(0);
    let mut response = json!({ "epoch": last.epoch });
    for set in sets.iter().filter(|set| set.epoch >= first) {
        let step = context.progress.step(&files::keys(set.epoch));
        let text = String::from_utf8_lossy(&set.bytes);
        response = server.post(&["keys"], &json!({ "set": text, "signatures": set.signatures }))?;
        step.done("sent");
    }
    if response["online_key_counts"] == false {
        let key = "warning: the server signs channels with a key that is not in the set, and machines with this set \
                   will reject its updates: restart the server with the new channel.key";
        context.progress.note(key);
    }
    Ok(response)
}

fn print_set(context: &Context, standing: &KeySetStatus) -> anyhow::Result<()> {
    let KeySetStatus { path, set, previous, own } = standing;
    let missing = standing.missing();
    if context.json {
        return output::print_json(&json!({
            "path": path, "set": set, "missing": missing,
            "signed_by": own, "signed_by_previous": previous.as_ref().map(|(_, found)| found),
        }));
    }
    let left = set.expires.saturating_sub(now()?) / DAY_SECONDS;
    let mut text = format!("{}\nset {}, valid for {left} more days\n", path.display(), set.epoch);
    for role in Role::ALL {
        for key in set.named_keys(role) {
            let signed = if role == Role::Root && own.contains(&key.name) { "  signed" } else { "" };
            writeln!(text, "  {:<8} {:<16} {}{signed}", role.name(), key.name, key.key.as_str())?;
        }
    }
    match previous {
        Some((previous, found)) if !found.is_empty() => {
            let names: Vec<_> = found.iter().map(FileName::as_str).collect();
            writeln!(text, "signed by {} of set {}", names.join(", "), previous.epoch)?;
        }
        _ => {}
    }
    for line in &missing {
        writeln!(text, "{line}")?;
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    match missing.is_empty() {
        true => text += "\nNext: keelson keys publish, and keelson keys pin for new images\n",
        false => writeln!(
            text,
            "\nNext, on a machine with such a key and with the previous set in the same folder:\n  keelson keys sign {file} --key FILE"
        )?,
    }
    output::print(text)
}
