//! Limits of memory and CPU: control groups below that of the unit.
//!
//! A pod without limits remains in the unit's group. For others, `rkt run` moves to a group below it, since the kernel gives
//! controllers only to groups without processes; each app with a limit has a group next to that one. systemd removes them
//! with the unit's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pod::{App, PodManifest};

use crate::run_file;

const ROOT: &str = "/sys/fs/cgroup";
const OWN: &str = "/proc/self/cgroup";
const MAX_FILE: u64 = 64 << 10;
const PROCESSES: &str = "cgroup.procs";
/// The controllers that a group may give to those below it.
const CONTROLLERS: &str = "cgroup.controllers";
/// The group of `rkt run`, the pod's first process, and apps without limits.
const SUPERVISOR: &str = "rkt-supervisor";
const PERIOD_MICROSECONDS: u64 = 100_000;
const MICROSECONDS_PER_MILLI_CPU: u64 = PERIOD_MICROSECONDS / 1000;
/// What the kernel takes for the writing process.
const SELF: &str = "0";

/// Creates the groups of a pod with limits, and moves this process. Called by `rkt run` before it starts the pod.
pub fn prepare(manifest: &PodManifest) -> anyhow::Result<()> {
    if manifest.apps.iter().all(|app| !has_limits(app)) {
        return Ok(());
    }
    let unit = own_group(ROOT.as_ref(), &run_file::read_text(OWN.as_ref(), MAX_FILE)?)?;
    create(ROOT.as_ref(), &unit, manifest, std::process::id())
}

/// Runs `start`, which starts an app, in the app's group. Called by the pod's first process.
pub fn start<T>(app: &App, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    if !has_limits(app) {
        return start();
    }
    let supervisor = own_group(ROOT.as_ref(), &run_file::read_text(OWN.as_ref(), MAX_FILE)?)?;
    let unit = supervisor.parent().context("the supervisor's control group has no parent")?;
    write(&unit.join(app_group(app)).join(PROCESSES), SELF)?;
    let started = start();
    write(&supervisor.join(PROCESSES), SELF)?;
    started
}

/// Whether the unit's group may give this controller to its apps' groups.
fn ensure_available(root: &Path, unit: &Path, controller: &str) -> anyhow::Result<()> {
    let has = |group: &Path| -> anyhow::Result<bool> {
        let list = run_file::read_text(&group.join(CONTROLLERS), MAX_FILE)?;
        Ok(list.split_whitespace().any(|name| name == controller))
    };
    if has(unit)? {
        Ok(())
    } else if has(root)? {
        bail!("the unit's control group has no controller {controller}; set Delegate=yes in the unit")
    } else {
        bail!(
            "this machine has no controller {controller} ({}): its kernel, or the manager of the container that it is, does \
             not provide it",
            root.join(CONTROLLERS).display()
        )
    }
}

fn has_limits(app: &App) -> bool {
    app.memory.is_some() || app.cpu.is_some()
}

fn app_group(app: &App) -> String {
    format!("rkt-app-{}", app.name)
}

fn own_group(root: &Path, own: &str) -> anyhow::Result<PathBuf> {
    // `0::/system.slice/app.service`
    let path = own.lines().find_map(|line| line.strip_prefix("0::"));
    let Some(path) = path.filter(|_| root.join(CONTROLLERS).exists()) else {
        bail!("--memory and --cpu need unified control groups (cgroup v2) at {}", root.display());
    };
    let path = path.trim_matches('/');
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        bail!(
            "--memory and --cpu need a control group of rkt's own; run it in a unit (systemd-run rkt run ...)"
        );
    }
    Ok(root.join(path))
}

fn create(root: &Path, unit: &Path, manifest: &PodManifest, own: u32) -> anyhow::Result<()> {
    let processes = run_file::read_text(&unit.join(PROCESSES), MAX_FILE)?;
    if let Some(other) = processes.lines().find(|process| process.parse() != Ok(own)) {
        bail!(
            "--memory and --cpu need a control group of rkt's own, but process {other} is in {}, too; \
             run rkt in a unit (systemd-run rkt run ...)",
            unit.display()
        );
    }
    let needs = |controller: &str| match controller {
        "memory" => manifest.apps.iter().any(|app| app.memory.is_some()),
        _ => manifest.apps.iter().any(|app| app.cpu.is_some()),
    };
    let controllers: Vec<_> = ["memory", "cpu"].into_iter().filter(|controller| needs(controller)).collect();
    for controller in &controllers {
        ensure_available(root, unit, controller)?;
    }
    let supervisor = unit.join(SUPERVISOR);
    make(&supervisor)?;
    write(&supervisor.join(PROCESSES), &own.to_string())?;
    for controller in &controllers {
        write(&unit.join("cgroup.subtree_control"), &format!("+{controller}"))?;
    }
    for app in manifest.apps.iter().filter(|app| has_limits(app)) {
        let group = unit.join(app_group(app));
        make(&group)?;
        if let Some(memory) = app.memory {
            write(&group.join("memory.max"), &memory.to_string())?;
        }
        if let Some(milli) = app.cpu {
            write(
                &group.join("cpu.max"),
                &format!("{} {PERIOD_MICROSECONDS}", milli * MICROSECONDS_PER_MILLI_CPU),
            )?;
        }
    }
    Ok(())
}

fn make(group: &Path) -> anyhow::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot create the control group {}", group.display()))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, value: &str) -> anyhow::Result<()> {
    fs::write(path, value).with_context(|| format!("cannot write {value:?} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(line: &str) -> PodManifest {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let request = pod::parse(&[], &arguments).unwrap();
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":["a"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = oci_image::config::ImageConfig::parse(config, 0).unwrap();
        let image =
            pod::AppImage { digest: oci_image::Digest::of(b""), config, accounts: pod::Accounts::default() };
        let apps = request.apps.iter().enumerate().map(|(index, app)| {
            let name = format!("app{index}");
            pod::resolve(&name, app, &image, &pod::PodEnvironment::default(), &mut Vec::new()).unwrap()
        });
        PodManifest {
            uuid: pod::Uuid::from_random([0; 16]),
            created: 0,
            apps: apps.collect(),
            volumes: Vec::new(),
            network: request.network,
            ports: Vec::new(),
            hostname: None,
            dns: request.dns,
            hosts: Vec::new(),
            insecure: pod::InsecureOptions::default(),
            interactive: false,
            fly: false,
        }
    }

    /// On a folder with the files of a control group.
    #[test]
    fn groups_have_limits() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/a.service");
        fs::create_dir_all(&unit).unwrap();
        let own = |text: &str| own_group(root.path(), text).map_err(|error| error.to_string());
        assert!(own("0::/system.slice/a.service\n").unwrap_err().contains("need unified control groups"));
        fs::write(root.path().join(CONTROLLERS), "cpu memory").unwrap();
        assert!(own("0::/\n").unwrap_err().contains("a control group of rkt's own"));
        assert!(own("1:cpu:/\n").unwrap_err().contains("need unified control groups"));
        assert_eq!(own("1:cpu:/\n0::/system.slice/a.service\n").unwrap(), unit);
        let manifest = manifest("x --memory=50M --cpu=500m y z --cpu=2");
        fs::write(unit.join(PROCESSES), "7\n8\n").unwrap();
        let create = || create(root.path(), &unit, &manifest, 7).map_err(|error| error.to_string());
        let error = create().unwrap_err();
        assert!(error.contains("process 8 is in"), "{error}");
        fs::write(unit.join(PROCESSES), "7\n").unwrap();
        for (of_machine, of_unit, expected) in [
            ("cpu", "cpu", "this machine has no controller memory ("),
            ("cpu memory", "cpu", "no controller memory; set Delegate=yes"),
            ("memory cpu", "memory", "no controller cpu; set Delegate=yes"),
        ] {
            fs::write(root.path().join(CONTROLLERS), of_machine).unwrap();
            fs::write(unit.join(CONTROLLERS), of_unit).unwrap();
            let error = create().unwrap_err();
            assert!(error.contains(expected) && !unit.join(SUPERVISOR).exists(), "{error}");
        }
        fs::write(unit.join(CONTROLLERS), "cpuset cpu memory\n").unwrap();
        create().unwrap();
        let read = |path: &str| fs::read_to_string(unit.join(path)).unwrap();
        assert_eq!(read("rkt-supervisor/cgroup.procs"), "7");
        assert_eq!(read("rkt-app-app0/memory.max"), "50000000");
        assert_eq!(read("rkt-app-app0/cpu.max"), "50000 100000");
        assert_eq!(read("rkt-app-app2/cpu.max"), "200000 100000");
        assert!(!unit.join("rkt-app-app1").exists());
    }
}
