//! Prepares pods: images are obtained and unpacked, settings resolved, the manifest written.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use oci_store::{Store, Tree};
use pod::limits::MAX_ENVIRONMENT_FILE;
use pod::{Accounts, App, AppImage, PodEnvironment, PodManifest, PodRequest, Volume, VolumeKind};

use crate::context::Context;
use crate::images::{self, PullPolicy};
use crate::pod_folder::{Lock, PodFolder};
use crate::pods::Pods;
use crate::{run_file, times};

const MAX_ACCOUNTS: u64 = 4 << 20;

/// A pod in the stage `prepare`, with everything that keeps it and its images.
pub struct Prepared {
    pub folder: PodFolder,
    pub lock: Lock,
    pub trees: Vec<Tree>,
    pub manifest: PodManifest,
}

pub fn prepare(context: &Context, pods: &Pods, request: &PodRequest) -> anyhow::Result<Prepared> {
    let store = context.store()?;
    check_volumes(&request.volumes)?;
    let environment = PodEnvironment {
        set: common_environment(request)?,
        inherited: if request.flags.is_set("inherit-env") { own_environment()? } else { Vec::new() },
    };
    // Images come first: what cannot be fetched leaves no pod.
    let policy = PullPolicy::of(&request.flags)?;
    let mut found = Vec::new();
    for app in &request.apps {
        found.push(images::obtain(context, &store, &app.image, policy, app.signature.as_deref())?);
    }
    let (folder, lock) = pods.create()?;
    let mut volumes = request.volumes.clone();
    let (mut apps, mut trees): (Vec<App>, Vec<Tree>) = (Vec::new(), Vec::new());
    let mut resolve = || {
        for (app, image) in request.apps.iter().zip(&found) {
            let tree = images::unpack(&store, image.digest)?;
            let name = app.name.as_deref().unwrap_or(&image.app);
            if apps.iter().any(|other| other.name == name) {
                bail!("several apps are named {name:?}; name them with --name");
            }
            let own = AppImage {
                digest: image.digest,
                config: store.config(image.digest)?,
                accounts: accounts(&tree)?,
            };
            let resolved = pod::resolve(name, app, &own, &environment, &mut volumes)?;
            apps.push(App { image_name: image.name.clone(), ..resolved });
            trees.push(tree);
        }
        Ok(())
    };
    let resolved = resolve();
    let manifest = PodManifest {
        uuid: folder.uuid.clone(),
        created: times::now(),
        apps,
        volumes,
        network: request.network,
        ports: request.ports.clone(),
        hostname: request.hostname.clone(),
        dns: request.dns.clone(),
        hosts: request.hosts.clone(),
        insecure: context.insecure,
        interactive: request.interactive,
        fly: request.fly,
    };
    let written = resolved.and_then(|()| folder.write_manifest(&manifest));
    if let Err(error) = written {
        let mut folder = folder;
        pods.remove(&mut folder).with_context(|| format!("after: {error:#}"))?;
        return Err(error);
    }
    Ok(Prepared { folder, lock, trees, manifest })
}

/// The trees of a pod that was prepared before. They are unpacked again if they were removed.
pub fn trees(store: &Store, manifest: &PodManifest) -> anyhow::Result<Vec<Tree>> {
    let unpack = |app: &App| {
        let context = || format!("image {} of app {}", images::id(app.image), app.name);
        images::unpack(store, app.image).with_context(context)
    };
    manifest.apps.iter().map(unpack).collect()
}

fn check_volumes(volumes: &[Volume]) -> anyhow::Result<()> {
    for volume in volumes {
        if let VolumeKind::Host { source, .. } = &volume.kind {
            std::fs::metadata(source).with_context(|| format!("volume {}: {source}", volume.name))?;
        }
    }
    Ok(())
}

fn own_environment() -> anyhow::Result<Vec<(String, String)>> {
    let text = |text: OsString| {
        text.into_string()
            .map_err(|text| anyhow::anyhow!("--inherit-env: {text:?} in the environment is not UTF-8"))
    };
    std::env::vars_os().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

/// Of files, in their order, then of `--set-env`.
fn common_environment(request: &PodRequest) -> anyhow::Result<Vec<(String, String)>> {
    let mut environment = Vec::new();
    for path in request.flags.texts("set-env-file") {
        let text = run_file::read_text(path.as_ref(), MAX_ENVIRONMENT_FILE)?;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            match line.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    environment.push((name.to_owned(), value.to_owned()))
                }
                _ => bail!("{path}:{}: {line:?}; expected NAME=VALUE", index + 1),
            }
        }
    }
    environment.extend(request.environment.iter().cloned());
    Ok(environment)
}

fn accounts(tree: &Tree) -> anyhow::Result<Accounts> {
    Ok(Accounts { passwd: image_file(tree, "etc/passwd")?, group: image_file(tree, "etc/group")? })
}

/// A file of an image, whose links lead nowhere else. Empty if there is none.
fn image_file(tree: &Tree, path: &str) -> anyhow::Result<String> {
    let root =
        File::open(tree.rootfs()).with_context(|| format!("cannot open {}", tree.rootfs().display()))?;
    // A FIFO does not block.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let Ok(file) = openat2(root.as_fd(), path, how) else { return Ok(String::new()) };
    let file = File::from(file);
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(MAX_ACCOUNTS)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the image's {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
