//! Builds the `keelson` program, for checks that run it elsewhere than in this checkout.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::built;

pub fn build(root: &Path) -> Result<PathBuf> {
    // Of the whole workspace, and beside an example, for which cargo chooses the features that tests have: with others
    // all would be compiled once more.
    let programs = built::build(root, &["--workspace", "--bin", "keelson", "--example", "local"])?;
    built::named(&programs, "keelson").map(Path::to_path_buf)
}
