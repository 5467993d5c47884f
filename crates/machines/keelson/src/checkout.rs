//! Finds the Keelson checkout that a command works on.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The closest parent folder that contains `os/packages`.
pub fn checkout() -> anyhow::Result<PathBuf> {
    find_checkout()?
        .context("not in a checkout of Keelson: neither this folder nor any parent contains os/packages")
}

/// Like [`checkout`]; `None` outside of a checkout.
pub fn find_checkout() -> anyhow::Result<Option<PathBuf>> {
    let here = std::env::current_dir().context("cannot determine the current folder")?;
    Ok(here.ancestors().find(|folder| folder.join("os/packages").is_file()).map(Path::to_path_buf))
}
