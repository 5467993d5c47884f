//! Compares an emulated Keelson machine's boot with that of a Debian system of the same packages, alternately.
//!
//! `keelson up` starts both with the same firmware, processors, memory, devices and QEMU; only the image differs. The
//! Debian system uses Debian's own initrd. Each boot is a first boot on a new overlay, measured up to the banner of the
//! SSH server. Docker is enabled on the Debian system as by its package; the banner does not wait for it. The Debian
//! system has SSH host keys from the installation of its packages; a Keelson machine generates them.

mod disk;
mod machine;
mod nic;
mod peer;
mod probe;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sandbox::Sandbox;
use serde_json::json;

use super::figure::Figure;
use super::{debian, keelson};
use crate::command::{require_success, show_and_read, target_folder};
use machine::Boot;

const ROUNDS: usize = 5;
const TARGET_RATIO: &str = "<= 0.5";
const COMMAND: &str = "cargo xtask bench boot-peer";
/// Intermediate results of the image build, below the checkout.
const TOOLS: &str = "target/image/tools";

pub fn figures(program: &Path, root: &Path) -> Result<Vec<Figure>> {
    let folder = target_folder(root).join("bench/boot-peer");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = folder.canonicalize().context("the bench's folder")?;
    // First: it needs root and a package of the host, an image takes minutes.
    let packages = fs::read_to_string(root.join("os/packages")).context("cannot read os/packages")?;
    let tree = debian::tree(&folder.join("debian"), &peer::packages(&packages)?)?;

    let raw = build(program, root, &folder.join("keelson"))?;
    let tools = tools(&root.join(TOOLS))?;
    let keelson = manifest(&folder.join("keelson.json"), &raw, &tools)?;

    let sandbox = Sandbox::new(&tools)?.share(&folder);
    peer::configure(&sandbox, &tree)?;
    let kernel = peer::kernel(&tree)?;
    let disk = folder.join("debian.raw");
    disk::make(&sandbox, &tree, &kernel, &disk)?;
    let debian = manifest(&folder.join("debian.json"), &disk, &tools)?;

    let mut boots = [Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        for ((name, image), boots) in [("Keelson", &keelson), ("Debian", &debian)].into_iter().zip(&mut boots)
        {
            let boot = machine::boot(program, image).with_context(|| format!("{name}, round {round}"))?;
            eprintln!("round {round} of {ROUNDS}, {name}: {boot}");
            boots.push(boot);
        }
    }
    let [keelson, debian] = boots;
    Ok(rows(&kernel, &keelson, &debian))
}

/// Builds the image as it is released.
fn build(program: &Path, root: &Path, out: &Path) -> Result<PathBuf> {
    let mut command = keelson(program, &["--json", "image", "build", "--format", "raw", "--out"]);
    let ended = require_success(show_and_read(command.arg(out).current_dir(root))?)?;
    let built: serde_json::Value =
        serde_json::from_str(&ended.stdout).context("image build --json printed no JSON document")?;
    let path = built["files"][0]["path"].as_str().context("image build --json has no file")?;
    Ok(path.into())
}

/// Returns the tools tree that the last build used: using a result updates its time.
fn tools(all: &Path) -> Result<PathBuf> {
    let failed = || format!("cannot list {}", all.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(all).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        found.push((entry.metadata().and_then(|data| data.modified()).with_context(failed)?, entry.path()));
    }
    found.sort();
    found.pop().map(|(_, tree)| tree).with_context(|| format!("{} is empty", all.display()))
}

/// Describes a disk to `keelson up --image`. QEMU machines need only `raw` and the tools.
fn manifest(path: &Path, raw: &Path, tools: &Path) -> Result<PathBuf> {
    let image = json!({
        "version": "0.0.0", "channel": "alpha", "raw": raw, "usr_tree": "none", "usr_erofs": "none", "tools": tools,
    });
    fs::write(path, image.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_path_buf())
}

fn rows(kernel: &str, keelson: &[Boot], debian: &[Boot]) -> Vec<Figure> {
    let figure = |what: String, target: &'static str, of: fn(&Boot) -> f64| {
        let [ours, theirs] = [keelson, debian].map(|boots| Values::of(boots, of));
        let ratio = ours.median() / theirs.median();
        let measured = format!("{ratio:.2}: {} against {}", ours.summary(), theirs.summary());
        Figure { what, target: target.into(), measured, command: COMMAND.into() }
    };
    let peer = format!("Debian {} of the same packages (Linux {kernel})", debian::SUITE);
    vec![
        figure(
            format!("emulated first boot until the SSH banner, beside {peer}: processor seconds"),
            TARGET_RATIO,
            |boot| boot.ssh.processor,
        ),
        figure("the same, time".into(), "", |boot| boot.ssh.time),
        figure("the same, until the firmware hands over: processor seconds".into(), "", |boot| {
            boot.firmware.processor
        }),
        figure("the same, until the firmware hands over: time".into(), "", |boot| boot.firmware.time),
    ]
}

/// Sorted measurements.
struct Values(Vec<f64>);

impl Values {
    fn of(boots: &[Boot], of: fn(&Boot) -> f64) -> Self {
        let mut all: Vec<f64> = boots.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    fn summary(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|value| format!("{value:.1}")).collect();
        format!("{:.1} s ({})", self.median(), all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::qemu::Cost;

    #[test]
    fn a_row_has_the_ratio_of_the_medians_and_all_values() {
        let boot = |processor: f64| Boot {
            firmware: Cost { processor: 2.0, time: 1.0 },
            ssh: Cost { processor, time: processor / 2.0 },
        };
        let found = rows("6.12", &[30.0, 50.0, 40.0].map(boot), &[100.0, 80.0, 90.0].map(boot));
        let summary: Vec<_> = found.iter().map(|row| (&*row.target, row.measured.as_str())).collect();
        assert_eq!(
            summary,
            [
                ("<= 0.5", "0.44: 40.0 s (30.0, 40.0, 50.0) against 90.0 s (80.0, 90.0, 100.0)"),
                ("", "0.44: 20.0 s (15.0, 20.0, 25.0) against 45.0 s (40.0, 45.0, 50.0)"),
                ("", "1.00: 2.0 s (2.0, 2.0, 2.0) against 2.0 s (2.0, 2.0, 2.0)"),
                ("", "1.00: 1.0 s (1.0, 1.0, 1.0) against 1.0 s (1.0, 1.0, 1.0)"),
            ]
        );
        assert!(found[0].what.contains("trixie") && found[0].what.contains("6.12"), "{}", found[0].what);
    }

    #[test]
    fn the_tools_are_those_used_last() {
        let folder = tempfile::tempdir().unwrap();
        assert!(tools(folder.path()).is_err());
        for (name, age) in [("a", 20), ("b", 10), ("c", 30)] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            let used = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::open(&path).unwrap().set_modified(used).unwrap();
        }
        assert_eq!(tools(folder.path()).unwrap(), folder.path().join("b"));
    }
}
