//! Finds the Keelson checkout that a command works on.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The closest parent folder that contains `os/packages`.
pub fn checkout() -> anyhow::Result<PathBuf> {
    find_checkout()?.context("this is no checkout of Keelson: no folder above it has os/packages")
}

/// Like [`checkout`]; `None` outside of a checkout.
pub fn find_checkout() -> anyhow::Result<Option<PathBuf>> {
    let here = std::env::current_dir().context("current folder")?;
    Ok(here.ancestors().find(|folder| folder.join("os/packages").is_file()).map(Path::to_path_buf))
}
