//! Operations on `targets.json`, the list of releases: sign and show.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use release::files;
use release_folder::{
    TargetsError, TargetsStatus, latest_complete, merge_targets_signatures, refresh_targets, sign_targets,
    sign_targets_with, targets_status,
};
use serde_json::{Value, json};
use tuf::Targets;
use update_core::repository::TARGETS_FILE;

use super::password::KnownPasswords;
use super::token::{self, Place};
use crate::context::Context;
use crate::output;

/// What to do about a list that release keys must sign.
pub const NEXT: &str = "\nNext, with a release key and all roots in the same folder:\n  keelson keys sign targets.json --key FILE\n";

/// Whether a file is a list of releases, by its name.
pub fn is_targets(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(TARGETS_FILE))
}

pub fn sign(
    context: &Context,
    file: &Path,
    keys: &[PathBuf],
    copies: &[PathBuf],
    passwords: &mut KnownPasswords,
) -> anyhow::Result<()> {
    // A file that is no list is reported before a password is asked for.
    targets_status(file)?;
    for key in keys {
        match Place::parse("--key", key)? {
            Place::File(path) => sign_targets(file, &path, passwords)?,
            Place::Token(uri) => {
                let place = PathBuf::from(uri.to_string());
                sign_targets_with(file, &token::signer(&uri)?, &place)?
            }
        };
    }
    print(context, &merge_targets_signatures(file, copies)?)
}

/// Prints the list, with each release: whoever signs it vouches for them.
pub fn print(context: &Context, list: &TargetsStatus) -> anyhow::Result<()> {
    if context.json {
        return output::print_json(&to_json(list));
    }
    let mut text = format!("{}\n{}", list.path.display(), line(list));
    for target in list.targets.targets.keys() {
        writeln!(text, "  {target}")?;
    }
    text += if needs_signature(list) { NEXT } else { "\nNext: keelson keys publish\n" };
    output::print(text)
}

/// The list of a folder of keys; `None` if it has none, or no complete root.
pub fn of_folder(folder: &Path) -> anyhow::Result<Option<TargetsStatus>> {
    let path = folder.join(TARGETS_FILE);
    if !path.exists() || latest_complete(folder)?.is_none() {
        return Ok(None);
    }
    Ok(Some(targets_status(&path)?))
}

/// Brings the list under a root that is complete now, if the release key is in the folder.
pub fn refresh(folder: &Path, passwords: &mut KnownPasswords) -> anyhow::Result<Option<TargetsStatus>> {
    match refresh_targets(folder, &[], passwords) {
        // Its status shows the missing signature.
        Err(TargetsError::Refused { .. }) => of_folder(folder),
        refreshed => Ok(refreshed?),
    }
}

/// Whether machines with the newest root refuse it, or do not trust the channel keys of this root.
pub fn needs_signature(list: &TargetsStatus) -> bool {
    !list.is_complete() || !list.is_current
}

/// The paths of the targets with this file name.
fn listed<'a>(targets: &'a Targets, name: &'a str) -> impl Iterator<Item = &'a String> {
    targets.targets.keys().filter(move |path| path.rsplit('/').next() == Some(name))
}

/// One or two lines about its version, releases and signatures.
pub fn line(list: &TargetsStatus) -> String {
    let TargetsStatus { targets, signed_by, missing, is_current, root, .. } = list;
    let count = listed(targets, files::RELEASE).count();
    let releases = if count == 1 { "1 release".to_owned() } else { format!("{count} releases") };
    let names: Vec<_> = signed_by.iter().map(|name| name.as_str()).collect();
    let names = if names.is_empty() { "no release key".to_owned() } else { names.join(", ") };
    let version = targets.header.version;
    let mut text = format!("targets version {version}, {releases}, signed by {names}\n");
    match missing {
        Some(missing) => text += &format!("{missing}\n"),
        None if !is_current => text += &format!("it is of a root before version {root}\n"),
        None => {}
    }
    text
}

pub fn to_json(list: &TargetsStatus) -> Value {
    json!({
        "path": list.path, "version": list.targets.header.version,
        "releases": listed(&list.targets, files::RELEASE).collect::<Vec<_>>(),
        "images": listed(&list.targets, files::IMAGES).collect::<Vec<_>>(), "signed_by": list.signed_by,
        "missing": list.missing, "current": list.is_current,
    })
}
