//! Builds images that scenarios boot in place of the plain one: signed, or in another format.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::enrolment::SigningKey;
use image::import::import;
use machines::image::Image;
use serde::Deserialize;

use crate::failure::{Failure, expect};
use crate::scenario::{Run, Scenario};
use crate::signing;

/// The relevant part of the output of `image build --json`.
#[derive(Deserialize)]
struct Built {
    version: String,
    files: Vec<BuiltFile>,
}

#[derive(Deserialize)]
struct BuiltFile {
    path: PathBuf,
}

/// Returns the image that the scenario boots, with its files in `folder`; `None` for the run's.
pub(crate) fn image(run: &Run, scenario: &Scenario, folder: &Path) -> Result<Option<Image>, Failure> {
    if scenario.secure_boot {
        let key = signing::key(run)?;
        // Signing changes only the boot partition; /usr is the same.
        let raw = first(build(run, "raw", Some(&key), &folder.join("signed"))?)?;
        return Ok(Some(Image { raw, ..run.image.clone() }));
    }
    scenario.format.map(|format| imported(run, format, folder)).transpose()
}

/// Builds the image under test in another format, and imports the file as `up --image` does.
pub(crate) fn imported(run: &Run, format: &str, folder: &Path) -> Result<Image, Failure> {
    let file = first(build_format(run, format, &folder.join("built"))?)?;
    let imported = import(&file, &run.image.tools, &folder.join("imported"), false)
        .map_err(|error| Failure::Expected(format!("{}: {error}", file.display())))?;
    Ok(Image { raw: imported.raw, usr_erofs: imported.usr_erofs, ..run.image.clone() })
}

/// Builds the image under test in another format into `out`; returns its files.
pub(crate) fn build_format(run: &Run, format: &str, out: &Path) -> Result<Vec<PathBuf>, Failure> {
    build(run, format, None, out)
}

fn first(files: Vec<PathBuf>) -> Result<PathBuf, Failure> {
    files.into_iter().next().ok_or_else(|| Failure::Expected("a file".to_owned()))
}

/// Builds the image under test into `out`, as its user would; returns its files.
fn build(run: &Run, format: &str, key: Option<&SigningKey>, out: &Path) -> Result<Vec<PathBuf>, Failure> {
    let program = &run.background.program;
    let mut command = Command::new(program);
    command.args(["--json", "image", "build", "--format", format, "--profile", &run.profile.to_string()]);
    if let Some(key) = key {
        command.arg("--sign").arg(&key.key);
    }
    let output = command
        .arg("--out")
        .arg(out)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Failure::Disk { path: program.clone(), source })?;
    expect(output.status.success(), "an image", &String::from_utf8_lossy(&output.stderr))?;
    let built: Built =
        serde_json::from_slice(&output.stdout).map_err(|error| Failure::Expected(error.to_string()))?;
    let wanted = format!("the checkout's image to be the one under test, {}", run.image.version);
    expect(built.version == run.image.version, &wanted, &built.version)?;
    Ok(built.files.into_iter().map(|file| file.path).collect())
}
