//! The live system: a kernel and an initrd, as a network boot loader starts them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use cpio::newc;
use machines::cluster::BackendKind::Qemu;
use machines::cluster::{BootSource, DirectBoot};
use machines::machine::Machine;

use super::kv::SOON;
use crate::failure::{Failure, expect};
use crate::own_image;
use crate::scenario::{Context, DEFAULTS, Scenario};

const USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-the-drive, content: applied}]\n";
/// Arguments of every boot here. Without a limit for the initrd, whose half of 1 GiB would not do with UEFI.
const CONSOLE: &str = "console=ttyS0 quiet root=tmpfs";
/// Bytes of an empty disk to install to. `smallest` ignores disks of up to 10 GB.
pub const DISK_BYTES: u64 = 12 << 30;
/// Limit of an installation: an emulated processor compares the disk with the image.
pub const INSTALLATION: Duration = Duration::from_secs(1200);
/// A public key without a private one.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEtlZWxzb24gc2NlbmFyaW8sIG5vdCBhIHJlYWwga2V5 from the kernel";

pub const LIVE: Scenario = Scenario {
    name: "live",
    about: "kernel and initrd boot without a disk, verified, with the arguments of network boot, and touch no installed disk",
    on: &[Qemu],
    user_data: Some(USER_DATA),
    run: live,
    ..DEFAULTS
};

pub const LIVE_ROOT: Scenario = Scenario {
    name: "live-root",
    about: "a live system keeps its state on the disk that root= names, and has the OEM files of a further initrd",
    on: &[Qemu],
    long_on: &[Qemu],
    run: root_on_a_disk,
    ..DEFAULTS
};

pub const LIVE_MEMORY: Scenario = Scenario {
    name: "live-memory",
    about: "a machine with too little memory for the live system reports how much it has and needs, and halts",
    on: &[Qemu],
    long_on: &[Qemu],
    qemu_arguments: &["-m", "832"],
    run: too_little_memory,
    ..DEFAULTS
};

/// The files of the live system, built from the checkout.
pub(super) fn files(context: &Context<'_>) -> Result<DirectBoot, Failure> {
    let files = own_image::build_format(context.run, "pxe", &context.site.layout().root().join("built"))?;
    let file = |end: &str| {
        let found = files.iter().find(|file| file.to_string_lossy().ends_with(end));
        found.cloned().ok_or_else(|| Failure::Expected(format!("a file *{end} in {files:?}")))
    };
    Ok(DirectBoot { kernel: file(".vmlinuz")?, initrd: file("-initrd.img")?, arguments: CONSOLE.to_owned() })
}

fn live(context: &Context<'_>) -> Result<(), Failure> {
    let boot = files(context)?;
    let arguments = format!("{CONSOLE} coreos.autologin=ttyS0 sshkey=\"{KEY}\"");
    context.site.set_boot_source(BootSource::Kernel(DirectBoot { arguments, ..boot }))?;
    let machine = context.machine(1);
    let ready = machine.start()?;
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    expect(ready.slot.is_none(), "no slot", &format!("{:?}", ready.slot))?;
    let root = machine.succeed("findmnt --noheadings --output FSTYPE /")?;
    expect(root.trim() == "tmpfs", "a root file system in memory", &root)?;
    is_verified(&machine)?;
    machine.succeed("grep -x applied /etc/from-the-drive")?;
    let keys = machine.read("/home/core/.ssh/authorized_keys")?;
    expect(keys.lines().any(|key| key == KEY), KEY, &keys)?;
    machine.wait_for_console("core (automatic login)", SOON)?;
    // The attached disk has the same version installed.
    let mounted = machine.succeed("findmnt --noheadings --output SOURCE | grep /dev/vda; true")?;
    expect(mounted.trim().is_empty(), "no use of the installed disk", &mounted)?;
    let status = machine.fail("update_engine_client -status 2>&1")?;
    expect(status.contains("This is a live system"), "why it is not updated", &status)?;
    machine.succeed("/usr/lib/keelson/keelson-motd | grep '^Live system: '").map(drop).map_err(Failure::from)
}

/// `/usr` is a dm-verity device on the image in memory.
pub fn is_verified(machine: &Machine<'_>) -> Result<(), Failure> {
    let table = machine.succeed("sudo dmsetup table usr")?;
    expect(table.split_ascii_whitespace().nth(2) == Some("verity"), "a verity device", &table)?;
    let disks = machine.succeed("basename -a /sys/block/dm-0/slaves/*")?;
    expect(disks.lines().all(|disk| disk.starts_with("loop")), "loop devices", &disks)
}

/// Writes a further initrd with `usr/share/oem/cloud-config.yml`, as the documentation of 2014 builds it.
fn write_oem(to: &Path) -> io::Result<()> {
    let text = b"#cloud-config\nhostname: from-oem\n";
    let mut out = File::create(to)?;
    let folders = ["usr", "usr/share", "usr/share/oem"]
        .map(|name| (name, newc::ModeFileType::Directory, 0o755, &b""[..]));
    let file = ("usr/share/oem/cloud-config.yml", newc::ModeFileType::Regular, 0o644, &text[..]);
    for (number, (name, kind, mode, content)) in (1..).zip(folders.into_iter().chain([file])) {
        let header = newc::Builder::new(name).ino(number).nlink(1).mode(mode).set_mode_file_type(kind);
        let mut entry = header.write(out, u32::try_from(content.len()).map_err(io::Error::other)?);
        entry.write_all(content)?;
        out = entry.finish()?;
    }
    newc::trailer(out)?.flush()
}

/// Appends `more` to an initrd, as a boot loader does that is given several.
fn append(initrd: &Path, more: &Path, to: &Path) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut out = File::create(to)?;
        for file in [initrd, more] {
            io::copy(&mut File::open(file)?, &mut out)?;
        }
        Ok(())
    };
    write().map_err(|source| Failure::Disk { path: to.to_path_buf(), source })
}

fn root_on_a_disk(context: &Context<'_>) -> Result<(), Failure> {
    let boot = files(context)?;
    let folder = context.site.layout().root().join("oem");
    fs::create_dir_all(&folder).map_err(|source| Failure::Disk { path: folder.clone(), source })?;
    let initrd = folder.join("initrd.img");
    let oem = folder.join("oem.cpio");
    write_oem(&oem).map_err(|source| Failure::Disk { path: oem.clone(), source })?;
    append(&boot.initrd, &oem, &initrd)?;
    let boot = DirectBoot { initrd, ..boot };
    context.site.set_boot_source(BootSource::Kernel(boot.clone()))?;
    let machine = context.machine(1);
    machine.start()?;
    let name = machine.succeed("hostname")?;
    expect(name.trim() == "from-oem", "the host name of the OEM files", &name)?;
    // A file system with a label, and nothing on it.
    machine.succeed("sudo wipefs --quiet --all /dev/vda && sudo mkfs.ext4 -q -L DATA /dev/vda")?;
    machine.shut_down()?;
    let arguments = format!("{CONSOLE} root=LABEL=DATA rootfstype=ext4");
    context.site.set_boot_source(BootSource::Kernel(DirectBoot { arguments, ..boot }))?;
    machine.start()?;
    is_verified(&machine)?;
    let root = machine.succeed("findmnt --noheadings --output SOURCE /")?;
    expect(root.trim() == "/dev/vda", "/dev/vda", &root)?;
    machine.succeed("echo kept | sudo tee /etc/kept")?;
    let id = machine.read("/etc/machine-id")?;
    machine.reboot()?;
    machine.succeed("grep -x kept /etc/kept")?;
    let after = machine.read("/etc/machine-id")?;
    expect(after == id, &id, &after)
}

fn too_little_memory(context: &Context<'_>) -> Result<(), Failure> {
    let boot = files(context)?;
    let boot = DirectBoot { arguments: "console=ttyS0".to_owned(), ..boot };
    context.site.set_boot_source(BootSource::Kernel(boot))?;
    let machine = context.machine(1);
    machine.power_on()?;
    machine.wait_for_console("MiB of memory, the live system needs", context.boot_limit())?;
    machine.wait_for_console("the machine is halted", SOON).map_err(Failure::from)
}
