//! Builds the `keelson` program, for checks that run it elsewhere than in this checkout.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::built;

pub fn build(root: &Path) -> Result<PathBuf> {
    let programs = built::build(root, &["--profile", "tool", "--package", "keelson"])?;
    built::named(&programs, "keelson").map(Path::to_path_buf)
}
