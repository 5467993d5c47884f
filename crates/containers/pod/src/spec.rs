//! The OCI runtime specification of an app, the `config.json` of its bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::manifest::{App, PodManifest};
use crate::seccomp;
use crate::volume::{Volume, VolumeKind};

const VERSION: &str = "1.0.2";
/// Paths that tell about the host, or change it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const SHM_SIZE: &str = "size=67108864";

/// What the machine can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// [`std::env::consts::ARCH`].
    pub architecture: &'static str,
    /// Capabilities of this process's bounding set; apps cannot have others.
    pub capabilities: BTreeSet<String>,
    /// Whether standard input is a terminal, which an interactive pod gets.
    pub terminal: bool,
}

/// Where an app's parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPaths {
    /// The mounted root file system.
    pub rootfs: PathBuf,
    /// Folders of empty volumes, by name.
    pub volumes: BTreeMap<String, PathBuf>,
    /// Files that replace those of the image: target and source.
    pub files: Vec<(&'static str, PathBuf)>,
}

/// The specification of an app that shares the namespaces of the process that starts the runtime: PID, network, IPC and
/// UTS are the pod's, limits of resources those of the unit.
#[must_use]
pub fn runtime_spec(pod: &PodManifest, app: &App, paths: &AppPaths, machine: &Machine) -> Value {
    let is_privileged = pod.fly;
    let mut capabilities = app.capabilities.list(is_privileged || pod.insecure.capabilities);
    // One that the user requests is an error of the runtime if it is not available.
    if app.capabilities.retain.is_empty() {
        capabilities.retain(|name| machine.capabilities.contains(*name));
    }
    // Programs of other users than root gain them by set-user-id only.
    let own: &[&str] = if app.uid == 0 { &capabilities } else { &[] };
    let mut process = json!({
        "terminal": pod.interactive && machine.terminal,
        "user": { "uid": app.uid, "gid": app.gid, "additionalGids": app.groups },
        "args": app.arguments,
        "env": environment(pod, app),
        "cwd": app.directory,
        "capabilities": {
            "bounding": capabilities,
            "effective": own,
            "permitted": own,
            "inheritable": [],
        },
        "noNewPrivileges": false,
    });
    if let (Some(score), Some(process)) = (app.oom_score_adj, process.as_object_mut()) {
        process.insert("oomScoreAdj".to_owned(), json!(score));
    }
    let has_masks = !(is_privileged || pod.insecure.paths);
    let mut linux = json!({
        "namespaces": if is_privileged {
            json!([{ "type": "mount" }])
        } else {
            json!([{ "type": "mount" }, { "type": "cgroup" }])
        },
        "maskedPaths": if has_masks { MASKED.as_slice() } else { &[] },
        "readonlyPaths": if has_masks { READ_ONLY.as_slice() } else { &[] },
        "rootfsPropagation": "rslave",
    });
    if !(is_privileged || pod.insecure.seccomp)
        && let Some(linux) = linux.as_object_mut()
    {
        linux.insert("seccomp".to_owned(), seccomp::filter(machine.architecture, &capabilities));
    }
    json!({
        "ociVersion": VERSION,
        "root": { "path": paths.rootfs, "readonly": app.read_only },
        "mounts": mounts(pod, app, paths, is_privileged),
        "process": process,
        "linux": linux,
    })
}

fn environment(pod: &PodManifest, app: &App) -> Vec<String> {
    let mut environment: Vec<String> =
        app.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if pod.interactive && app.environment.iter().all(|(name, _)| name != "TERM") {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

fn mounts(pod: &PodManifest, app: &App, paths: &AppPaths, is_privileged: bool) -> Vec<Value> {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", SHM_SIZE]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    if is_privileged {
        mounts.push(bind("/sys", Path::new("/sys"), &["rbind", "rslave"]));
    } else {
        // New ones: what the host mounts below its own is writable there.
        mounts.push(mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
        mounts.push(mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    for (target, source) in &paths.files {
        let is_mounted = app.mounts.iter().any(|mount| mount.target == *target);
        if !is_mounted {
            mounts.push(bind(target, source, &["bind", "rprivate", "nosuid", "nodev"]));
        }
    }
    for mount in &app.mounts {
        let Some(volume) = pod.volume(&mount.volume) else { continue };
        mounts.push(volume_mount(volume, &mount.target, paths, is_privileged));
    }
    mounts
}

fn volume_mount(volume: &Volume, target: &str, paths: &AppPaths, is_privileged: bool) -> Value {
    let mut options = Vec::new();
    let source = match &volume.kind {
        VolumeKind::Host { source, recursive } => {
            options.push(if *recursive { "rbind" } else { "bind" });
            PathBuf::from(source)
        }
        VolumeKind::Empty { .. } => {
            options.push("bind");
            paths.volumes.get(&volume.name).cloned().unwrap_or_default()
        }
    };
    options.push(if is_privileged { "rshared" } else { "rslave" });
    if volume.read_only {
        options.push("ro");
    }
    bind(target, &source, &options)
}

fn bind(target: &str, source: &Path, options: &[&str]) -> Value {
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
