//! Build times and size of an image.
//!
//! Cargo's work is done before and excluded: a copy of the checkout's image sources is built with copies of the
//! node's programs, so that one of each can be changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figure::Figure;
use crate::command::{require_success, show_and_read};
use crate::keelson;
use crate::workspace::Workspace;

const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// Has space for several gigabytes; `/tmp` may be a tmpfs.
pub const WORK_FOLDER: &str = "/var/tmp";
/// Sources of an image besides the programs.
const SOURCES: [&str; 4] = ["os", "image", "units", "cloud-config"];
/// A file below `/usr` that allows comments.
const CHANGED_FILE: &str = "os/rootfs/usr/lib/sysctl.d/50-keelson.conf";
const CHANGED_PROGRAM: &str = "node";
/// The image builder's list of the crates that the programs contain, beside them.
const LINKED_CRATES: &str = "crates.json";

pub fn figures(root: &Path) -> Result<Vec<Figure>> {
    let folder = Path::new(WORK_FOLDER).join(format!("keelson-bench-{}", std::process::id()));
    let outcome = measure(root, &folder);
    // Also after a failure: a benchmark leaves no gigabytes of files.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    outcome
}

fn measure(root: &Path, folder: &Path) -> Result<Vec<Figure>> {
    let bench = Bench::prepare(root, folder)?;
    let full = bench.build("qcow2,raw")?;
    let mut figures = vec![Figure {
        what: "image build, cache of .deb files full, cargo's work done".into(),
        target: "<= 75 s".into(),
        measured: format!("{:.1} s ({})", seconds(&full, "total")?, steps(&full)),
        command: "cargo keelson image build --work EMPTY --json".into(),
    }];
    bench.append(&bench.programs.join("node").join(CHANGED_PROGRAM))?;
    figures.push(incremental("one Rust program changed, without cargo's time", "<= 5 s", &bench, "raw")?);
    bench.append(&bench.checkout.join(CHANGED_FILE))?;
    figures.push(incremental("one file of os/rootfs changed", "", &bench, "raw")?);
    bench.append(&bench.checkout.join(CHANGED_FILE))?;
    figures.push(incremental("the same, with the compressed qcow2", "", &bench, "qcow2,raw")?);
    figures.push(incremental("nothing changed", "", &bench, "raw")?);
    let files = full["files"].as_array().context("image build --json has no files")?;
    let qcow2 = files.iter().find(|file| file["format"] == "qcow2").context("no qcow2 was built")?;
    let bytes = qcow2["bytes"].as_f64().context("a file of image build --json has no bytes")?;
    figures.push(Figure {
        what: "disk image as compressed qcow2, with docker".into(),
        target: "<= 230 MiB".into(),
        measured: format!("{:.0} MiB", bytes / MEBIBYTE),
        command: "cargo keelson image build --format qcow2 --json".into(),
    });
    Ok(figures)
}

fn incremental(what: &str, target: &'static str, bench: &Bench, formats: &str) -> Result<Figure> {
    let answer = bench.build(formats)?;
    let took = seconds(&answer, "total")? - seconds(&answer, "services")?;
    Ok(Figure {
        what: format!("incremental: {what}"),
        target: target.into(),
        measured: format!("{took:.1} s ({})", steps(&answer)),
        command: format!("cargo keelson image build --format {formats} --json"),
    })
}

/// Reads a step's `seconds` from the output of `image build --json`.
fn seconds(answer: &Value, step: &str) -> Result<f64> {
    answer["seconds"][step].as_f64().with_context(|| format!("image build --json has no seconds.{step}"))
}

/// Steps that took a tenth of a second or more, the longest first.
fn steps(answer: &Value) -> String {
    let all = answer["seconds"].as_object().into_iter().flatten();
    let mut move_images: Vec<(&str, f64)> = all
        .filter(|(name, _)| *name != "total" && *name != "services")
        .filter_map(|(name, took)| Some((name.as_str(), took.as_f64()?)))
        .filter(|(_, took)| *took >= 0.1)
        .collect();
    move_images.sort_by(|left, right| right.1.total_cmp(&left.1));
    move_images.iter().map(|(name, took)| format!("{name} {took:.1}")).collect::<Vec<_>>().join(", ")
}

/// A copy of the image sources with a work folder.
pub struct Bench {
    keelson: PathBuf,
    /// Holds `work` and `out` of the builds.
    pub folder: PathBuf,
    checkout: PathBuf,
    /// Laid out like `CARGO_TARGET_DIR`.
    pub programs: PathBuf,
}

impl Bench {
    /// Builds once in the checkout, which fills the package cache and compiles the programs.
    pub fn prepare(root: &Path, folder: &Path) -> Result<Self> {
        let keelson = keelson::build(root)?;
        let bench = Self {
            keelson,
            folder: folder.to_path_buf(),
            checkout: folder.join("checkout"),
            programs: folder.join("programs"),
        };
        fs::create_dir_all(&bench.checkout).context("cannot make the folder of the benchmark")?;
        let mut warm = Command::new(&bench.keelson);
        warm.current_dir(root).args(["image", "build", "--format", "raw", "--out"]).arg(folder.join("warm"));
        require_success(show_and_read(&mut warm)?)?;
        for name in SOURCES {
            copy(&root.join(name), &bench.checkout)?;
        }
        // With the same manifests the recorded list of linked crates is valid.
        for package in Workspace::load(root)?.packages {
            copy_manifest(root, &package.manifest_path, &bench.checkout)?;
        }
        for name in ["Cargo.toml", "Cargo.lock"] {
            copy_manifest(root, &root.join(name), &bench.checkout)?;
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        fs::create_dir_all(bench.programs.join("node")).context("cannot make the programs' folder")?;
        for entry in fs::read_dir(root.join(target).join("node")).context("where are the programs?")? {
            let path = entry.context("cannot list the programs")?.path();
            if path.is_file() && (path.extension().is_none() || path.ends_with(LINKED_CRATES)) {
                copy(&path, &bench.programs.join("node"))?;
            }
        }
        Ok(bench)
    }

    pub fn build(&self, formats: &str) -> Result<Value> {
        let mut command = Command::new(&self.keelson);
        command.current_dir(&self.checkout).env("CARGO", "true").env("CARGO_TARGET_DIR", &self.programs);
        command.args(["--json", "image", "build", "--format", formats, "--work"]);
        command.arg(self.folder.join("work")).arg("--out").arg(self.folder.join("out"));
        let ended = require_success(show_and_read(&mut command)?)?;
        serde_json::from_str(&ended.stdout).context("keelson printed no JSON document")
    }

    /// Appends a line: a comment in a configuration file, and ignored after the end of an ELF file.
    pub fn append(&self, file: &Path) -> Result<()> {
        let mut content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        content.extend_from_slice(b"# benchmark\n");
        fs::write(file, content).with_context(|| format!("cannot change {}", file.display()))
    }
}

/// Copies a file to the same relative path.
fn copy_manifest(root: &Path, manifest: &Path, checkout: &Path) -> Result<()> {
    let failed = || format!("cannot copy {}", manifest.display());
    let to = checkout.join(manifest.strip_prefix(root).with_context(failed)?);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::copy(manifest, to).map(|_| ()).with_context(failed)
}

fn copy(from: &Path, into: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    command.args(["-r", "--no-dereference", "--preserve=mode"]).arg(from).arg(into);
    if !command.status().context("cannot run cp")?.success() {
        bail!("cannot copy {} into {}", from.display(), into.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn a_figure_names_its_longest_steps_without_cargo_s() {
        let answer = serde_json::json!({ "seconds": {
            "total": 9.0, "services": 3.0, "packages": 0.02, "trees": 1.25, "system": 3.0 } });
        assert_eq!(steps(&answer), "system 3.0, trees 1.2");
        assert!(seconds(&answer, "formats").is_err());
    }

    #[test]
    fn what_is_changed_is_there() {
        assert!(workspace::root().join(CHANGED_FILE).is_file());
        let programs = fs::read_to_string(workspace::root().join("os/programs.toml")).unwrap();
        assert!(programs.contains(&format!("binary = \"{CHANGED_PROGRAM}\"")));
    }
}
