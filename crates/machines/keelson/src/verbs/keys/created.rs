//! The output of `keelson keys`: what each new file is for, and what to do with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use release_folder::{KeySetStatus, existing_key_path};
use serde_json::json;

use crate::context::Context;
use crate::output;

/// The files of a new set. `root`: its secret keys, which are in the folder of the set if they are `together`.
pub struct Created<'a> {
    pub set: &'a KeySetStatus,
    pub root: &'a [PathBuf],
    pub together: bool,
    pub pinned: Option<PathBuf>,
}

pub fn print(context: &Context, folder: &Path, created: Created<'_>) -> anyhow::Result<()> {
    let Created { set, root, together, pinned } = created;
    let [release, channel] = ["release", "channel"].map(|name| existing_key_path(folder, name));
    if context.json {
        return output::print_json(&json!({
            "release": release, "channel": channel, "root": root, "set": set.path, "pinned": pinned,
        }));
    }
    let mut text = format!(
        "{}  signs releases: keep it off every server, and keep a backup offline\n\
         {}  signs channels, unencrypted: the only file that belongs on the channel server\n",
        release.display(),
        channel.display(),
    );
    for root in root {
        writeln!(text, "{}  signs key sets, together with another root key", root.display())?;
    }
    writeln!(text, "{}  the first key set, with all public keys", set.path.display())?;
    match pinned {
        Some(path) => writeln!(text, "New images of this checkout trust the set: {}", path.display())?,
        None => writeln!(
            text,
            "Images trust the set once it is in the checkout (keelson keys pin). On machines with other images, copy\n\
             {0}/release and {0}/channel to /etc/keelson/keys.d, and set ALLOW_LOCAL_KEYS=yes in\n\
             /etc/coreos/update.conf.",
            folder.display()
        )?,
    }
    if together {
        text += &separate(root)?;
    }
    output::print(text + "\nNext: keelson release --version V\n")
}

/// Commands that move root keys to places of their own.
pub fn separate(root: &[PathBuf]) -> Result<String, std::fmt::Error> {
    let mut text = "\nMove root keys to media of their own, here below /media: whoever has two of them replaces every key.\n"
        .to_owned();
    for path in root {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(text, "  mv {} /media/{name}/", path.display())?;
    }
    Ok(text)
}
