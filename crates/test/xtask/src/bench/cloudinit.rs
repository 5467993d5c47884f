//! Compares `coreos-cloudinit` with Debian's cloud-init in one booted nspawn tree, alternately, with cold caches.
//!
//! mmdebstrap creates the Debian tree once, below cargo's target folder; each run uses a copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::debian;
use super::figure::Figure;
use crate::command::{cargo, require_success, show};

const ROUNDS: usize = 5;
const TARGET_RATIO: &str = ">= 50 times faster than cloud-init's stages";
const COMMAND: &str = "cargo xtask bench cloudinit";
const PACKAGES: [&str; 4] = ["systemd-sysv", "dbus", "cloud-init", "time"];
/// Limit for boot, rounds and shutdown.
const LIMIT: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// 1 MiB of user-data in this number of files.
const FILES: usize = 1000;
const FILE_BYTES: usize = 1016;
const UNIT: &str = "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/inside.sh ROUNDS\n";

pub fn figures(root: &Path) -> Result<Vec<Figure>> {
    if !nix::unistd::geteuid().is_root() {
        bail!("a container that boots wants root");
    }
    let build = ["build", "--locked", "--profile", "node", "--package", "coreos-cloudinit"];
    require_success(show(&mut cargo(root, &build))?).context("cannot build coreos-cloudinit")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tree = debian::tree(&target.join("bench/cloud-init"), &PACKAGES)?;
    let run = tempfile::tempdir().context("cannot make a folder")?;
    let copy = run.path().join("tree");
    require_success(show(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(&tree).arg(&copy))?)?;
    configure(&copy, &target.join("node/coreos-cloudinit"))?;
    boot(&copy)?;
    read(&copy)
}

fn configure(tree: &Path, program: &Path) -> Result<()> {
    let write = |path: &str, text: &[u8], mode: u32| -> Result<()> {
        let path = tree.join(path);
        let folder = path.parent().unwrap_or(tree);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).context("cannot set a mode")
    };
    write("inside.sh", include_bytes!("cloudinit/inside.sh"), 0o755)?;
    write("stages.sh", include_bytes!("cloudinit/stages.sh"), 0o755)?;
    write("user-data", include_bytes!("cloudinit/user-data"), 0o644)?;
    // cloud-init has no `coreos.units`: this has the same effect.
    write("user-data.cloud-init", include_bytes!("cloudinit/user-data.cloud-init"), 0o644)?;
    write("thousand", thousand_files().as_bytes(), 0o644)?;
    write("var/lib/cloud/seed/nocloud/user-data", b"", 0o644)?;
    // Started explicitly, not by this boot.
    write("etc/cloud/cloud-init.disabled", b"", 0o644)?;
    write("etc/systemd/system/bench.service", UNIT.replace("ROUNDS", &ROUNDS.to_string()).as_bytes(), 0o644)?;
    write("etc/systemd/system/multi-user.target.d/bench.conf", b"[Unit]\nWants=bench.service\n", 0o644)?;
    fs::copy(program, tree.join("coreos-cloudinit")).context("cannot copy coreos-cloudinit")?;
    Ok(())
}

fn thousand_files() -> String {
    let mut text = "#cloud-config\nwrite_files:\n".to_owned();
    let content = "x".repeat(FILE_BYTES);
    for number in 0..FILES {
        text.push_str(&format!("  - path: /many/{number:04}\n    content: {content}\n"));
    }
    text
}

/// Runs the tree until it powers off; drops the caches when it requests that.
fn boot(tree: &Path) -> Result<()> {
    let mut container = Command::new("systemd-nspawn")
        .args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--boot", "--directory"])
        .arg(tree)
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .context("apt-get install --no-install-recommends systemd-container")?;
    let result = serve(tree, &mut container);
    if result.is_err() {
        // It may have exited already.
        container.kill().ok();
        container.wait().ok();
    }
    result
}

fn serve(tree: &Path, container: &mut Child) -> Result<()> {
    let (ready, start) = (tree.join("ready"), Instant::now());
    while container.try_wait().context("cannot look after the container")?.is_none() {
        if ready.exists() {
            fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the caches")?;
            fs::remove_file(&ready).context("cannot answer the container")?;
        }
        if start.elapsed() > LIMIT {
            bail!("the container takes longer than {} s", LIMIT.as_secs());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    if !tree.join("done").exists() {
        bail!("the container ended before it was done");
    }
    Ok(())
}

fn read(tree: &Path) -> Result<Vec<Figure>> {
    let results = fs::read_to_string(tree.join("results")).context("the container left no results")?;
    let version = fs::read_to_string(tree.join("version")).unwrap_or_default();
    let version = version.split_whitespace().last().unwrap_or("?").to_owned();
    let of = |name: &str| runs(&results, name);
    let (theirs, ours, thousand_files) = (of("cloud-init")?, of("coreos-cloudinit")?, of("thousand")?);
    let figure = |what: String, target: &'static str, measured: String| Figure {
        what,
        target: target.into(),
        measured,
        command: COMMAND.into(),
    };
    let ratio = theirs.median() / ours.median();
    Ok(vec![
        figure(
            format!(
                "`coreos-cloudinit` on a file with key, file and unit, cold, beside cloud-init {version}"
            ),
            TARGET_RATIO,
            format!("{ratio:.0} times: {} against {}", ours.summary(), theirs.summary()),
        ),
        figure("the same, memory at its peak".into(), "<= 15 MiB", format!("{:.1} MiB", ours.memory())),
        figure(
            "1 MiB of user-data with 1,000 write_files, cold".into(),
            "<= 300 ms",
            thousand_files.summary(),
        ),
    ])
}

struct Runs {
    /// Sorted.
    milliseconds: Vec<f64>,
    kibibytes: f64,
}

impl Runs {
    fn median(&self) -> f64 {
        self.milliseconds[self.milliseconds.len() / 2]
    }

    fn memory(&self) -> f64 {
        self.kibibytes / 1024.0
    }

    fn summary(&self) -> String {
        let all: Vec<_> = self.milliseconds.iter().map(|time| format!("{time:.0}")).collect();
        format!("{:.0} ms ({})", self.median(), all.join(", "))
    }
}

/// Parses the lines of one name: a time in microseconds, and the maximal resident set size in KiB.
fn runs(results: &str, name: &str) -> Result<Runs> {
    let mut found = Runs { milliseconds: Vec::new(), kibibytes: 0.0 };
    for line in results.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        match fields[..] {
            ["failed", which] if which == name => bail!("{name} failed: see /log in the container"),
            [which, time, memory] if which == name => {
                let time: f64 = time.parse().with_context(|| format!("no time: {line}"))?;
                found.milliseconds.push(time / 1000.0);
                found.kibibytes =
                    found.kibibytes.max(memory.parse().with_context(|| format!("no size: {line}"))?);
            }
            _ => {}
        }
    }
    if found.milliseconds.is_empty() {
        bail!("no run of {name} in the results");
    }
    found.milliseconds.sort_by(f64::total_cmp);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let text = "a 3000 2048\nb 1 1\na 1000 1024\na 2000 512\nfailed c\n";
        let found = runs(text, "a").unwrap();
        assert_eq!((found.median(), found.memory()), (2.0, 2.0));
        assert_eq!(found.summary(), "2 ms (1, 2, 3)");
        assert!(runs(text, "c").is_err());
        assert!(runs(text, "d").is_err());
    }

    #[test]
    fn a_thousand_files_are_a_mebibyte() {
        let text = thousand_files();
        assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&text.len()), "{}", text.len());
    }
}
