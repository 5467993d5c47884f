//! Operations on root metadata: rotate, sign and show.

use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use release::FileName;
use release_folder::{
    Change, Replace, RootStatus, TargetsStatus, latest_status, merge_signatures, secret_key_path, status,
    targets_status,
};
use serde_json::json;
use tuf::{Root, Signer};
use update_core::repository::TARGETS_FILE;
use update_core::roots::{NamedKey, Role, expires, named_keys, version};

use super::location::{DAY_SECONDS, KeysFolder, Validity, now};
use super::password::{NewPasswordFlags, PasswordFlags};
use super::role::role;
use super::token::{self, Addition, Place};
use super::{created, targets};
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;

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
    /// Add a public key: release=second.pub, root=pkcs11:... or root/NAME=pkcs11:... (on a token, by default under its label)
    #[arg(long, value_name = "ROLE=KEY")]
    add: Vec<String>,
    /// Number of root keys that must sign this root and the one after it
    #[arg(long, value_name = "N")]
    threshold: Option<NonZeroU64>,
    /// Number of release keys that must sign each release
    #[arg(long, value_name = "N")]
    release_threshold: Option<NonZeroU64>,
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
    /// The root, N.root.json, or targets.json; the previous root, or all roots, must be in the same folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Root key to sign with: a file, or the pkcs11: URI of a key on a token; for targets.json a release key
    #[arg(long, value_name = "KEY")]
    key: Vec<PathBuf>,
    /// Copy of the same file that was signed elsewhere
    #[arg(long, value_name = "FILE")]
    collect: Vec<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
}

#[derive(Debug, clap::Args)]
pub struct Show {
    #[command(flatten)]
    from: KeysFolder,
    /// The root, N.root.json, or targets.json [default: the newest root in the folder]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
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
        release_threshold: flags.release_threshold,
        signers,
        password,
    };
    let folder = flags.from.folder()?;
    let expires = now()? + DAY_SECONDS * flags.validity.days;
    let made = release_folder::rotate_with(&folder, &change, &mut passwords, &tokens, expires)?;
    print_root(context, &made, targets::of_folder(&folder)?.as_ref())?;
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
    if targets::is_targets(&flags.file) {
        return targets::sign(context, &flags.file, &flags.key, &flags.collect, &mut passwords);
    }
    // A file that is no root is reported before a PIN is asked for.
    status(&flags.file)?;
    for key in &flags.key {
        match Place::parse("--key", key)? {
            Place::File(path) => release_folder::sign_root(&flags.file, &path, &mut passwords)?,
            Place::Token(uri) => {
                let place = PathBuf::from(uri.to_string());
                release_folder::sign_root_with(&flags.file, &token::signer(&uri)?, &place)?
            }
        };
    }
    let signed = merge_signatures(&flags.file, &flags.collect)?;
    let folder = folder_of(&flags.file);
    let list = match signed.is_complete() && folder.join(TARGETS_FILE).exists() {
        true => targets::refresh(folder, &mut passwords)?,
        false => None,
    };
    print_root(context, &signed, list.as_ref())
}

/// The folder of a file, also of one without a folder in its path.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub fn show(context: &Context, flags: &Show) -> anyhow::Result<()> {
    let (shown, folder) = match &flags.file {
        Some(path) if targets::is_targets(path) => {
            return targets::print(context, &targets_status(path)?);
        }
        Some(path) => (status(path)?, folder_of(path).to_owned()),
        None => {
            let folder = flags.from.folder()?;
            (latest_status(&folder)?, folder)
        }
    };
    print_root(context, &shown, targets::of_folder(&folder)?.as_ref())
}

fn print_root(context: &Context, shown: &RootStatus, list: Option<&TargetsStatus>) -> anyhow::Result<()> {
    let RootStatus { path, root, previous, own } = shown;
    let missing = shown.missing();
    if context.json {
        let keys = keys(root).map(|(role, name, id)| json!({ "role": role.name(), "name": name, "id": id }));
        return output::print_json(&json!({
            "path": path, "root": root, "keys": keys.collect::<Vec<_>>(), "missing": missing,
            "signed_by": own, "signed_by_previous": previous.as_ref().map(|(_, found)| found),
            "targets": list.map(targets::to_json),
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
    if let Some(list) = list {
        text += &targets::line(list);
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let needs_signature = list.filter(|list| targets::needs_signature(list));
    match missing.is_empty() {
        true if needs_signature.is_some() => text += targets::NEXT,
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
