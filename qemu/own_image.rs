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
    let mut image = run.image.clone();
    if scenario.secure_boot {
        let key = signing::key(run)?;
        // Signing changes only the boot partition; /usr is the same.
        image.raw = build(run, "raw", Some(&key), &folder.join("signed"))?;
    } else if let Some(format) = scenario.format {
        let file = build(run, format, None, &folder.join("built"))?;
        let imported = import(&file, &run.image.tools, &folder.join("imported"), false)
            .map_err(|error| Failure::Expected(format!("{}: {error}", file.display())))?;
        (image.raw, image.usr_erofs) = (imported.raw, imported.usr_erofs);
    } else {
        return Ok(None);
    }
    Ok(Some(image))
}

/// Builds the image under test into `out`, as its user would; returns its file.
pub(crate) fn build(
    run: &Run,
    format: &str,
    key: Option<&SigningKey>,
    out: &Path,
) -> Result<PathBuf, Failure> {
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
    let file = built.files.into_iter().next();
    file.map(|file| file.path).ok_or_else(|| Failure::Expected("a file".to_owned()))
}
