//! The live system on a CD-ROM or a USB stick: an ISO 9660 image that UEFI and BIOS boot.
//!
//! Its boot partition, a FAT file system, has the only copy of kernel and initrd. It is a file of the ISO 9660 file
//! system, which GRUB opens on BIOS, the El Torito image that UEFI boots from a CD-ROM, and the EFI system partition of
//! a GPT, for UEFI on a USB stick.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::arguments_area;
use crate::boot_image::command_line;
use crate::disk::{KEYS, LOADER, set_times, uuid, uuid_bytes};
use crate::fat::{self, Content, Entry};
use crate::live::{arguments, initrd};
use crate::source::{EncodeError, Source};
use crate::tool::{command, run};
use crate::tree::{PathContext, make_folder, walk, write_file};

/// The boot partition, in the root of the ISO 9660 file system.
pub const PARTITION: &str = "boot.img";
/// Files of the boot partition, below the checkout.
const FILES: &str = "image/iso/esp";
/// GRUB's first configuration.
const GRUB_START: &str = "image/iso/grub-start.cfg";
/// Paths in the boot partition.
pub const KERNEL: &str = "live/vmlinuz";
pub const INITRD: &str = "live/initrd.img";
pub const CUSTOM: &str = "live/custom.img";
pub const BOOT_LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// Size of the reserved file that `keelson image customize` fills. Zeros are an empty archive for the kernel.
pub const CUSTOM_BYTES: usize = 1 << 20;
const LABEL: [u8; 11] = *b"KEELSON    ";
/// GRUB for BIOS, in the tools tree.
const GRUB: &str = "/usr/lib/grub/i386-pc";
const GRUB_CORE: &str = "grub.img";
/// What the core image needs until it has found its configuration, and the menu.
const GRUB_MODULES: [&str; 14] = [
    "biosdisk",
    "part_gpt",
    "part_msdos",
    "iso9660",
    "fat",
    "loopback",
    "search",
    "search_fs_file",
    "configfile",
    "normal",
    "test",
    "serial",
    "terminal",
    "linux",
];
/// Characters of a volume id.
const VOLUME_ID: usize = 32;

pub fn write(source: &Source<'_>, to: &Path) -> Result<(), EncodeError> {
    let folder = source.scratch.join("iso");
    make_folder(&folder)?;
    write_partition(source, &folder.join(PARTITION))?;
    // GRUB finds the medium by the name of this file.
    write_file(&folder.join(source.name), b"", 0o644)?;
    let shared = [Some(&*folder), to.parent()];
    let tools = shared.into_iter().flatten().fold(Sandbox::new(&source.built.tools)?, Sandbox::share);
    write_grub(source, &folder, &tools)?;
    let epoch = source.built.release.epoch;
    set_times(&folder, epoch)?;
    run(command(&tools, "xorriso")?
        .args(["-no_rc", "-as", "mkisofs", "-quiet", "-rational-rock"])
        .args(["-volid", &volume_id(source.name), "-appid", source.name])
        // BIOS: from a CD-ROM by El Torito, from a disk by the code in its first sector.
        .args(["-eltorito-boot", GRUB_CORE, "-eltorito-catalog", "boot.cat", "-no-emul-boot"])
        .args(["-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info"])
        .args(["--grub2-mbr", &format!("{GRUB}/boot_hybrid.img")])
        // Some firmware of BIOS boots no disk without an active partition.
        .arg("--mbr-force-bootable")
        // UEFI. Its number of sectors does not fit the field: with 1 the partition has all that follows.
        .args(["-eltorito-alt-boot", "--efi-boot", PARTITION, "-no-emul-boot", "-boot-load-size", "1"])
        .args(["-efi-boot-part", "--efi-boot-image"])
        .args(["--gpt_disk_guid", &uuid("iso", &source.digest)])
        .arg("-o")
        .arg(to)
        .arg(&folder)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("TZ", "UTC"))?;
    Ok(fs::remove_dir_all(&folder).at(&folder)?)
}

fn write_partition(source: &Source<'_>, to: &Path) -> Result<(), EncodeError> {
    let (kernel, initrd) = (kernel(source)?, initrd(source)?);
    let mut entries = vec![
        Entry { path: KERNEL.to_owned(), content: Content::File(&kernel) },
        Entry { path: INITRD.to_owned(), content: Content::File(&initrd) },
        Entry { path: CUSTOM.to_owned(), content: Content::Bytes(vec![0; CUSTOM_BYTES]) },
    ];
    let loader = source.built.uki.with_file_name(LOADER);
    entries.push(Entry { path: BOOT_LOADER.to_owned(), content: Content::File(&loader) });
    let mut options = command_line(&source.built.checkout)?;
    arguments(&mut options, &source.built.usr_root_hash);
    options.push("coreos.autologin".to_owned());
    let title = format!("{} {} ({})", source.built.release.name, source.built.version, source.built.channel);
    let folder = source.built.checkout.join(FILES);
    for path in walk(&folder)? {
        let file = folder.join(&path);
        if file.is_file() {
            let text = fs::read_to_string(&file).at(&file)?;
            let text = text.replace("@TITLE@", &title).replace("@OPTIONS@", &options.join(" "));
            let content = Content::Bytes(text.replace("@ARGUMENTS@\n", &arguments_area::blank()).into());
            entries.push(Entry { path: path.to_string_lossy().into_owned(), content });
        }
    }
    let keys = source.built.uki.with_file_name(KEYS);
    if source.built.sign.is_some() {
        for path in walk(&keys)?.into_iter().filter(|path| keys.join(path).is_file()) {
            let content = fs::read(keys.join(&path)).at(&keys)?;
            entries
                .push(Entry { path: path.to_string_lossy().into_owned(), content: Content::Bytes(content) });
        }
    }
    let [a, b, c, d, ..] = uuid_bytes("iso volume", &source.digest);
    let mut out = source.open(to).at(to)?;
    Ok(fat::write(&mut out, LABEL, u32::from_be_bytes([a, b, c, d]), &entries).at(to)?)
}

/// The kernel of the build. Its signature is the image's or none: firmware with Secure Boot verifies it.
fn kernel(source: &Source<'_>) -> Result<PathBuf, EncodeError> {
    let kernel = source.scratch.join("vmlinuz");
    fs::copy(&source.built.kernel, &kernel).at(&kernel)?;
    let tools = Sandbox::new(&source.built.tools)?.share(source.scratch);
    run(command(&tools, "sbattach")?.arg("--remove").arg(&kernel))?;
    if let Some(sign) = &source.built.sign {
        let shared = [&sign.key, &sign.certificate].into_iter().filter_map(|file| file.parent());
        let mut sbsign = command(&shared.fold(tools, Sandbox::share), "sbsign")?;
        sbsign.arg("--key").arg(&sign.key).arg("--cert").arg(&sign.certificate);
        run(sbsign.arg("--output").arg(&kernel).arg(&kernel))?;
    }
    Ok(kernel)
}

/// GRUB's core image for a boot from CD-ROM. From a disk its first sector is replaced.
fn write_grub(source: &Source<'_>, folder: &Path, tools: &Sandbox) -> Result<(), EncodeError> {
    let template = source.built.checkout.join(GRUB_START);
    let text = fs::read_to_string(&template).at(&template)?.replace("@NAME@", source.name);
    let config = folder.join("grub-start.cfg");
    write_file(&config, text.as_bytes(), 0o644)?;
    run(command(tools, "grub-mkimage")?
        .args(["--format=i386-pc-eltorito", "--directory", GRUB, "--prefix=/grub"])
        .arg("--config")
        .arg(&config)
        .arg("--output")
        .arg(folder.join(GRUB_CORE))
        .args(GRUB_MODULES))?;
    Ok(fs::remove_file(&config).at(&config)?)
}

/// ISO 9660 allows upper-case letters, digits and underscores.
fn volume_id(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().take(VOLUME_ID).map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_id_has_the_version() {
        assert_eq!(volume_id("keelson-9999.1.0-alpha"), "KEELSON_9999_1_0_ALPHA");
        assert_eq!(volume_id(&"a".repeat(40)).len(), 32);
    }
}
