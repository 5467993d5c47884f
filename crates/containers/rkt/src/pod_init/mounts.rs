//! Mounts of a pod, in a mount namespace of its own: they end with it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::IsTerminal as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nix::mount::{MsFlags, mount};
use pod::{App, AppPaths, Machine, NetworkMode, PodManifest, VolumeKind, runtime_spec};

use crate::pod_folder::PodFolder;
use crate::run_file;

const MAX_TREES: u64 = 1 << 20;
const MAX_HOSTS: u64 = 1 << 20;
const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// systemd-resolved's real name servers, where `/etc/resolv.conf` has only its own loopback address.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const READABLE: u32 = 0o644;

/// Mounts everything and returns the folder of each app's bundle.
pub fn prepare(folder: &PodFolder, manifest: &PodManifest) -> anyhow::Result<Vec<PathBuf>> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("cannot separate the pod's mounts")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).context("cannot mount /proc")?;
    let text = run_file::read(&folder.path.join("trees"), MAX_TREES)?;
    let trees: Vec<PathBuf> = serde_json::from_slice(&text).context("the pod's list of trees")?;
    if trees.len() != manifest.apps.len() {
        bail!("the pod has {} apps, but {} trees", manifest.apps.len(), trees.len());
    }
    let volumes = empty_volumes(folder, manifest)?;
    let files = files(folder, manifest)?;
    let bounding =
        caps::read(None, caps::CapSet::Bounding).context("cannot read the bounding set of capabilities")?;
    let capabilities = bounding.iter().map(ToString::to_string).collect();
    let machine = Machine {
        architecture: std::env::consts::ARCH,
        capabilities,
        terminal: std::io::stdin().is_terminal(),
    };
    let mut bundles = Vec::new();
    for (app, tree) in manifest.apps.iter().zip(&trees) {
        let rootfs =
            overlay(folder, app, tree).with_context(|| format!("root file system of app {}", app.name))?;
        let paths = AppPaths { rootfs, volumes: volumes.clone(), files: files.clone() };
        let spec = runtime_spec(manifest, app, &paths, &machine);
        folder.make_folder(&format!("apps/{}", app.name))?;
        folder.write(&format!("apps/{}/config.json", app.name), &serde_json::to_vec(&spec)?)?;
        bundles.push(folder.path.join("apps").join(&app.name));
    }
    Ok(bundles)
}

/// The image's tree, which all pods share, below what the app writes.
fn overlay(folder: &PodFolder, app: &App, tree: &Path) -> anyhow::Result<PathBuf> {
    let make = |part: &str| folder.make_folder(&format!("overlay/{}/{part}", app.name));
    let (upper, work, target) = (make("upper")?, make("work")?, make("rootfs")?);
    // The root of the app has the mode of the upper folder.
    let mode = fs::metadata(tree).with_context(|| format!("cannot read {}", tree.display()))?.permissions();
    fs::set_permissions(&upper, mode).context("cannot set the mode of the root folder")?;
    // Without `volatile`, its end would write everything to the disk that the host has written to that file system. What
    // an app writes here ends with its pod, which runs once.
    let options = format!(
        "volatile,lowerdir={},upperdir={},workdir={}",
        tree.display(),
        upper.display(),
        work.display()
    );
    mount(Some("overlay"), &target, Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()))
        .with_context(|| format!("cannot mount an overlay ({options}); the file system must support it"))?;
    Ok(target)
}

fn empty_volumes(folder: &PodFolder, manifest: &PodManifest) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut volumes = BTreeMap::new();
    for volume in &manifest.volumes {
        let VolumeKind::Empty { mode, uid, gid } = volume.kind else { continue };
        let path = folder.make_folder(&format!("volumes/{}", volume.name))?;
        let set = chown(&path, Some(uid), Some(gid))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)));
        set.with_context(|| format!("volume {}", volume.name))?;
        volumes.insert(volume.name.clone(), path);
    }
    Ok(volumes)
}

/// Files that replace the image's.
fn files(folder: &PodFolder, manifest: &PodManifest) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut files = Vec::new();
    let mut add = |target: &'static str, name: &str, text: &str| {
        folder.write(name, text.as_bytes())?;
        let path = folder.path.join(name);
        fs::set_permissions(&path, Permissions::from_mode(READABLE))
            .with_context(|| format!("mode of {name}"))?;
        files.push((target, path));
        anyhow::Ok(())
    };
    let host = run_file::read_if_present(HOSTS.as_ref(), MAX_HOSTS)?.unwrap_or_default();
    add(HOSTS, "hosts", &manifest.hosts_text(&String::from_utf8_lossy(&host)))?;
    add("/etc/hostname", "hostname", &format!("{}\n", manifest.hostname()))?;
    if manifest.dns.is_none() || (manifest.network == NetworkMode::None && manifest.dns.servers.is_empty()) {
        return Ok(files);
    }
    let text = if manifest.dns.is_host() { resolv_conf(manifest.network)? } else { manifest.dns.text() };
    add(RESOLV_CONF, "resolv.conf", &text)?;
    Ok(files)
}

/// The host's name servers. An address of the host's loopback leads nowhere from another network namespace.
fn resolv_conf(network: NetworkMode) -> anyhow::Result<String> {
    let read = |path: &str| {
        let bytes = run_file::read_if_present(path.as_ref(), MAX_HOSTS)?;
        anyhow::Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let own = read(RESOLV_CONF)?.unwrap_or_default();
    let mut servers = own.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let is_local = servers.all(|server| server.trim().starts_with("127."));
    if network != NetworkMode::Host && is_local {
        return Ok(read(RESOLVED)?.unwrap_or(own));
    }
    Ok(own)
}
