//! Installs to a disk from a channel server.

use std::fs;
use std::path::Path;

use image::finish::{FinishedFile, Record, record_of};
use machines::cluster::BackendKind::Qemu;
use release_folder::{FinishedImage, FinishedImages};

use super::channel::Channel;
use super::versions::{Keys, release_of_running};
use crate::failure::{Failure, expect};
use crate::own_image::build_format;
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::scenarios::install::{DEVICE, DISK_GIB, installs};

pub const INSTALL_FROM_CHANNEL: Scenario = Scenario {
    name: "install-from-channel",
    about: "coreos-install writes the image that a channel's signed metadata lists to an empty disk, and no other version",
    on: &[Qemu],
    long_on: &[Qemu],
    spare_disk_gib: Some(DISK_GIB),
    run: install,
    ..DEFAULTS
};

fn install(context: &Context<'_>) -> Result<(), Failure> {
    let root = context.site.layout().root();
    let (keys, releases, version) =
        (Keys::make(&root.join("keys"))?, root.join("releases"), &context.run.image.version);
    let channel = Channel::open(context, &keys)?;
    let images = images(context, &root.join("dist"))?;
    release_of_running(context.run, &keys, &[images], &releases)?;
    let folder = releases.join(version).display().to_string();
    channel.run(&["publish", "--channel", "alpha", &folder])?;

    let machine = context.machine(1);
    machine.start()?;
    machine.succeed("sudo mkdir -p /etc/keelson/keys.d")?;
    machine.write("/etc/keelson/keys.d/root.json", keys.root.as_bytes())?;
    let conf = format!("GROUP=alpha\nALLOW_LOCAL_KEYS=yes\nSERVER={}\n", channel.server());
    machine.write("/etc/coreos/update.conf", conf.as_bytes())?;
    let refused = machine.fail(&format!("sudo coreos-install -d {DEVICE} -V 9999.9.9 2>&1"))?;
    expect(refused.contains("targets.json does not list version 9999.9.9"), "a refusal", &refused)?;
    let journal = installs(&machine, "-C alpha")?;
    let success = format!("Success! Keelson alpha {version} is installed on {DEVICE}");
    expect(journal.lines().any(|line| line == success), &success, &journal)?;
    // The UUIDs of both partitions are the root hash of /usr: those of the running system.
    let of = |disk: &str| format!("lsblk -n -o PARTLABEL,PARTUUID {disk} | grep USR-A | sort");
    let running = machine.succeed(&of("/dev/$(lsblk -n -d -o PKNAME $(findmnt -n -o SOURCE /))"))?;
    let installed = machine.succeed(&of(DEVICE))?;
    expect(installed == running && running.lines().count() == 2, &running, &installed)
}

/// The image under test as a file that can be published.
fn images(context: &Context<'_>, folder: &Path) -> Result<FinishedImages, Failure> {
    let files = build_format(context.run, "raw.zst", folder)?;
    let record = files.first().map(|file| record_of(file)).unwrap_or_default();
    let text = fs::read(&record).map_err(|source| Failure::Disk { path: record.clone(), source })?;
    let parsed: Record =
        serde_json::from_slice(&text).map_err(|error| Failure::Expected(error.to_string()))?;
    let file = |file: &FinishedFile| FinishedImage {
        path: record.with_file_name(file.path.file_name().unwrap_or_default()),
        format: file.format.name().to_owned(),
        sha256: file.sha256.clone(),
        virtual_size: file.virtual_size,
    };
    Ok(FinishedImages {
        files: parsed.files.iter().map(file).collect(),
        version: parsed.version,
        channel: parsed.channel,
        root_hash: parsed.usr_root_hash,
        record,
    })
}
