//! The disk of the Debian system: GPT, an ESP with systemd-boot, an ext4 root.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sandbox::Sandbox;

use crate::command::{require_success, show_and_read};

pub const ROOT_LABEL: &str = "ROOT";
const DISK_MIB: u64 = 3500;
const ESP_START_MIB: u64 = 1;
/// As Keelson's, with clusters of one sector too: the firmware reads both at the same speed.
const ESP_MIB: u64 = 512;
const ROOT_START_MIB: u64 = ESP_START_MIB + ESP_MIB;
/// The last MiB holds the backup partition table.
const ROOT_MIB: u64 = DISK_MIB - ROOT_START_MIB - 1;
const SECTORS_IN_A_MIB: u64 = 2048;
const BOOT_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";
const OPTIONS: &str = "rw console=tty0 console=ttyS0,115200n8 quiet";

/// Creates `disk` from `tree`, whose kernel has this version. `tools` shares the disk's folder.
pub fn make(tools: &Sandbox, tree: &Path, kernel: &str, disk: &Path) -> Result<()> {
    let file = File::create(disk).with_context(|| format!("cannot make {}", disk.display()))?;
    file.set_len(DISK_MIB << 20).with_context(|| format!("cannot make {}", disk.display()))?;
    partition(tools, disk)?;
    esp(tools, tree, kernel, disk)?;
    let mut root = tools.command("mke2fs")?;
    root.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        ROOT_LABEL,
        "-E",
        &format!("offset={}", ROOT_START_MIB << 20),
    ]);
    root.arg("-d").arg(tree).arg(disk).arg(format!("{ROOT_MIB}M"));
    run(&mut root)
}

fn partition(tools: &Sandbox, disk: &Path) -> Result<()> {
    let script = disk.with_extension("sfdisk");
    let text = format!(
        "label: gpt\nstart={ESP_START_MIB}MiB, size={ESP_MIB}MiB, type=U\n\
         start={ROOT_START_MIB}MiB, size={ROOT_MIB}MiB, type=L\n"
    );
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    let script = File::open(&script).with_context(|| format!("cannot read {}", script.display()))?;
    run(tools.command("sfdisk")?.arg("--quiet").arg(disk).stdin(script))
}

/// Creates the ESP with boot loader, configuration, kernel and initrd.
fn esp(tools: &Sandbox, tree: &Path, kernel: &str, disk: &Path) -> Result<()> {
    let offset = (ESP_START_MIB * SECTORS_IN_A_MIB).to_string();
    let mut format = tools.command("mkfs.vfat")?;
    format.args(["-F", "32", "-s", "1", "--offset", &offset]).arg(disk).arg((ESP_MIB << 10).to_string());
    run(&mut format)?;
    let image = format!("{}@@{ESP_START_MIB}M", disk.display());
    let folders = ["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries", "::/debian"];
    run(tools.command("mmd")?.args(["-i", &image]).args(folders))?;
    let write = |name: &str, text: String| {
        let path = disk.with_extension(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    let entry = format!(
        "title Debian\nlinux /debian/linux\ninitrd /debian/initrd\noptions root=LABEL={ROOT_LABEL} {OPTIONS}\n"
    );
    let boot = tree.join("boot");
    for (from, to) in [
        (tree.join(BOOT_LOADER), "EFI/BOOT/BOOTX64.EFI"),
        (write("loader", "timeout 0\ndefault debian.conf\n".to_owned())?, "loader/loader.conf"),
        (write("entry", entry)?, "loader/entries/debian.conf"),
        (boot.join(format!("vmlinuz-{kernel}")), "debian/linux"),
        (boot.join(format!("initrd.img-{kernel}")), "debian/initrd"),
    ] {
        run(tools.command("mcopy")?.args(["-i", &image]).arg(from).arg(format!("::/{to}")))?;
    }
    Ok(())
}

/// Discards a tool's output, which would mix with the rows on stdout.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    require_success(show_and_read(command)?).map(drop).with_context(|| format!("{name} of the tools tree"))
}
