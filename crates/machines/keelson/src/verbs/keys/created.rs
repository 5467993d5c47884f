//! The output of `keelson keys`: what each new file is for, and what to do with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use release_folder::{RootStatus, existing_key_path};
use serde_json::json;
use update_core::repository::TARGETS_FILE;

use crate::context::Context;
use crate::output;

/// The files of a new root. Its secret keys are in its folder if they are `together`.
pub struct Created<'a> {
    pub root: &'a RootStatus,
    pub root_keys: &'a [PathBuf],
    pub together: bool,
    pub pinned: Option<PathBuf>,
}

pub fn print(context: &Context, folder: &Path, created: Created<'_>) -> anyhow::Result<()> {
    let Created { root, root_keys, together, pinned } = created;
    let [release, channel] = ["release", "channel"].map(|name| existing_key_path(folder, name));
    if context.json {
        return output::print_json(&json!({
            "release": release, "channel": channel, "root_keys": root_keys, "root": root.path,
            "targets": folder.join(TARGETS_FILE), "pinned": pinned,
        }));
    }
    let mut text = format!(
        "{}  signs releases: keep it off every server, and keep a backup offline\n\
         {}  signs channels, unencrypted: the only file that belongs on the channel server\n",
        release.display(),
        channel.display(),
    );
    for key in root_keys {
        writeln!(text, "{}  signs roots, together with another root key", key.display())?;
    }
    writeln!(text, "{}  the first root, with all public keys", root.path.display())?;
    writeln!(
        text,
        "{}  the list of all releases, which the release key signs",
        folder.join(TARGETS_FILE).display()
    )?;
    match pinned {
        Some(path) => writeln!(text, "New images of this checkout trust the root: {}", path.display())?,
        None => writeln!(
            text,
            "Images trust the root once it is in the checkout (keelson keys pin). On machines with other images, copy\n\
             {} to /etc/keelson/keys.d/root.json, and set ALLOW_LOCAL_KEYS=yes in\n\
             /etc/coreos/update.conf.",
            root.path.display()
        )?,
    }
    if together {
        text += &separate(root_keys)?;
    }
    output::print(text + "\nNext: keelson release --version V\n")
}

/// Commands that move root keys to places of their own.
pub fn separate(root_keys: &[PathBuf]) -> Result<String, std::fmt::Error> {
    let mut text = "\nMove root keys to media of their own, here below /media: whoever has two of them replaces every key.\n"
        .to_owned();
    for path in root_keys {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(text, "  mv {} /media/{name}/", path.display())?;
    }
    Ok(text)
}
