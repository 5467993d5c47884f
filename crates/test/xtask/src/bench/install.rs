//! An installation to a disk beside a bare copy.
//!
//! Without arguments it builds the checkout's image; with one, that raw image is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figure::{Figure, bench_with, rows};
use super::image::WORK_FOLDER;
use crate::command::{require_success, show_and_read};
use crate::keelson;

const COMMAND: &str = "cargo xtask bench install";
/// That of the programs in the image.
const PROFILE: &str = "node";

pub fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let folder = Path::new(WORK_FOLDER).join(format!("keelson-bench-install-{}", std::process::id()));
    let outcome = measure(root, &folder, arguments);
    // Also after a failure: a benchmark leaves no gigabytes of files.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    print!("{}", rows(&outcome?));
    Ok(true)
}

fn measure(root: &Path, folder: &Path, arguments: &[String]) -> Result<Vec<Figure>> {
    let is_built = arguments.is_empty();
    let image = match arguments {
        [] => build(root, &folder.join("image"))?,
        [image] => image.into(),
        _ => bail!("`install` takes no words, or a raw image"),
    };
    let paths = [&image, &folder.join("disks")].map(|path| path.to_string_lossy().into_owned());
    let arguments = paths.each_ref().map(String::as_str);
    let mut figures = bench_with(root, PROFILE, ("disk-install", "install"), &arguments)?;
    for figure in &mut figures {
        figure.command = [COMMAND, if is_built { "" } else { " -- IMAGE" }].concat();
    }
    Ok(figures)
}

/// The checkout's image, as it is shipped.
fn build(root: &Path, out: &Path) -> Result<PathBuf> {
    let mut command = Command::new(keelson::build(root)?);
    command.current_dir(root).args(["--json", "image", "build", "--format", "raw", "--out"]).arg(out);
    let ended = require_success(show_and_read(&mut command)?)?;
    let built: Value = serde_json::from_str(&ended.stdout).context("keelson printed no JSON document")?;
    let path = built["files"][0]["path"].as_str().context("image build --json lists no file")?;
    Ok(path.into())
}
