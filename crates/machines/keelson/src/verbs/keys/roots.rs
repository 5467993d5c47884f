//! Operations on root metadata: rotate, sign, show and publish.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use release::FileName;
use release_folder::{
    Change, Replace, RootStatus, latest_status, load_roots, merge_signatures, secret_key_path, status,
};
use serde_json::{Value, json};
use tuf::{Root, Signer};
use update_core::roots::{NamedKey, Role, expires, file, named_keys, version};

use super::created;
use super::location::{DAY_SECONDS, KeysFolder, Validity, ensure_complete, now};
use super::password::{NewPasswordFlags, PasswordFlags};
use super::role::role;
use super::token::{self, Addition, Place};
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};

/// Of a key id, as shown to people.
const KEY_ID_DIGITS: usize = 16;

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
    /// Add a public key: release=second.pub, root=pkcs11:... or root/NAME=pkcs11:... (on a token, without a name its label)
    #[arg(long, value_name = "ROLE=KEY")]
    add: Vec<String>,
    /// Number of root keys that must sign this root and the one after it
    #[arg(long, value_name = "N")]
    threshold: Option<NonZeroU64>,
    /// Root key outside of the folder to sign with: a file, or the pkcs11: URI of a key on a token
    #[arg(long, value_name = "KEY")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    validity: Validity,
    #[command(flatten)]
    password: NewPasswordFlags,
}

#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The root, N.root.json; the previous root must be in the same folder
    #[arg(value_name = "FILE")]
    root: PathBuf,
    /// Root key to sign with: a file, or the pkcs11: URI of a key on a token
    #[arg(long, value_name = "KEY")]
    key: Vec<PathBuf>,
    /// Copy of the same N.root.json that was signed elsewhere
    #[arg(long, value_name = "FILE")]
    collect: Vec<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    from: KeysFolder,
    /// The root, N.root.json [default: the newest in the folder]
    #[arg(value_name = "FILE")]
    root: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Publish {
    #[command(flatten)]
    from: KeysFolder,
    #[command(flatten)]
    reached: ServerFlags,
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

pub fn rotate(context: &Context, flags: &Rotate) -> anyhow::Result<()> {
    let (mut add, mut add_keys) = (Vec::new(), Vec::new());
    for text in &flags.add {
        let addition = Addition::parse(text)?;
        match &addition.place {
            Place::File(path) => add.push((addition.role, path.clone())),
            Place::Token(uri) => add_keys.push((addition.role, addition.on_token(uri)?)),
        }
    }
    let (signers, tokens) = token::open(&flags.key)?;
    let tokens: Vec<_> = tokens.iter().map(|signer| signer as &dyn Signer).collect();
    let mut passwords = flags.password.existing.passwords()?;
    let is_encrypted = flags.replace.iter().any(|replace| replace.role != Role::Channel);
    let password = match is_encrypted {
        true => flags.password.new_password(&mut passwords)?,
        false => None,
    };
    let change = Change {
        replace: flags.replace.clone(),
        revoke: flags.revoke.clone(),
        add,
        add_keys,
        threshold: flags.threshold,
        signers,
        password,
    };
    let folder = flags.from.folder()?;
    let expires = now()? + DAY_SECONDS * flags.validity.days;
    let made = release_folder::rotate_with(&folder, &change, &mut passwords, &tokens, expires)?;
    print_root(context, &made)?;
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
    // A file that is no root is reported before a PIN is asked for.
    status(&flags.root)?;
    for key in &flags.key {
        match Place::parse("--key", key)? {
            Place::File(path) => release_folder::sign_root(&flags.root, &path, &mut passwords)?,
            Place::Token(uri) => {
                let place = PathBuf::from(uri.to_string());
                release_folder::sign_root_with(&flags.root, &token::signer(&uri)?, &place)?
            }
        };
    }
    print_root(context, &merge_signatures(&flags.root, &flags.collect)?)
}

pub fn show(context: &Context, flags: &Show) -> anyhow::Result<()> {
    let shown = match &flags.root {
        Some(path) => status(path)?,
        None => latest_status(&flags.from.folder()?)?,
    };
    print_root(context, &shown)
}

pub fn publish(context: &Context, flags: &Publish) -> anyhow::Result<()> {
    let folder = flags.from.folder()?;
    ensure_complete(&latest_status(&folder)?)?;
    let server = UpdateServer::open(context, &flags.reached)?;
    let sent = send(context, &server, &folder)?;
    if context.json {
        return output::print_json(&sent);
    }
    output::print(format!(
        "published root version {}; machines accept it at their next check\n",
        sent["version"]
    ))
}

/// Sends the roots of a folder in order; returns the server's last response, or null if there are no roots.
pub fn send(context: &Context, server: &UpdateServer, folder: &Path) -> anyhow::Result<Value> {
    let roots = load_roots(folder)?;
    let Some(last) = roots.last() else { return Ok(Value::Null) };
    let server_roots = server.get(&["keys"], &[])?;
    let first = server_roots["versions"].get(0).and_then(Value::as_u64).unwrap_or(0);
    let mut response = json!({ "version": last.version });
    for root in roots.iter().filter(|root| root.version >= first) {
        let step = context.progress.step(&file(root.version));
        response = server.post(&["keys"], &json!({ "root": String::from_utf8_lossy(&root.bytes) }))?;
        step.done("sent");
    }
    if response["online_key_counts"] == false {
        let key = "warning: the server signs channels with a key that is not in the root, and machines with this \
                   root will reject its updates: restart the server with the new channel.key";
        context.progress.note(key);
    }
    Ok(response)
}

fn print_root(context: &Context, shown: &RootStatus) -> anyhow::Result<()> {
    let RootStatus { path, root, previous, own } = shown;
    let missing = shown.missing();
    if context.json {
        let keys = keys(root).map(|(role, name, id)| json!({ "role": role.name(), "name": name, "id": id }));
        return output::print_json(&json!({
            "path": path, "root": root, "keys": keys.collect::<Vec<_>>(), "missing": missing,
            "signed_by": own, "signed_by_previous": previous.as_ref().map(|(_, found)| found),
        }));
    }
    let validity = match expires(root).saturating_sub(now()?) {
        0 => "expired".to_owned(),
        left => format!("valid for {} more days", left / DAY_SECONDS),
    };
    let mut text = format!("{}\nroot version {}, {validity}\n", path.display(), version(root));
    for (role, name, id) in keys(root) {
        let signed = if role == Role::Root && own.contains(&name) { "  signed" } else { "" };
        let id = id.get(..KEY_ID_DIGITS).unwrap_or(id);
        writeln!(text, "  {:<8} {name:<16} {id}{signed}", role.name())?;
    }
    match previous {
        Some((previous, found)) if !found.is_empty() => {
            let names: Vec<_> = found.iter().map(FileName::as_str).collect();
            writeln!(text, "signed by {} of root version {}", names.join(", "), version(previous))?;
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
            "\nNext, on a machine with such a key and with the previous root in the same folder:\n  keelson keys sign {file} --key FILE"
        )?,
    }
    output::print(text)
}

/// The keys of all roles, with their ids.
fn keys(root: &Root) -> impl Iterator<Item = (Role, FileName, &String)> {
    let of_role = |role| named_keys(root, role).into_iter().map(move |named| (role, named));
    Role::ALL.into_iter().flat_map(of_role).filter_map(|(role, NamedKey { name, key })| {
        let (id, _) = root.keys.iter().find(|(_, listed)| **listed == key)?;
        Some((role, name, id))
    })
}
