//! Builds a disk from trees: erofs, verity, the unified kernel image, partitions.
//!
//! All tools come from the locked tools tree, nothing is mounted, and all identifiers are derived from the content,
//! so that the same inputs produce the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;
use sha2::{Digest, Sha256};

use crate::boot_image::{BootImage, BootImageError, command_line, root_hash_argument};
use crate::enrolment::{EnrolmentError, KeyRequest, SigningKey, write_keys};
use crate::fetch::hex;
use crate::kernel::{KernelError, kernel_file};
use crate::release::Release;
use crate::tool::{ToolError, command, run};
use crate::tree::{PathContext, TreeError, apply_layer, make_folder, walk, write_file};

/// Hex digits of a dm-verity SHA-256 root hash.
const ROOT_HASH_DIGITS: usize = 64;
/// Boot attempts before systemd-boot falls back to the previous version.
const BOOT_TRIES: u32 = 3;
/// File names of a slot's parts.
pub const USR: &str = "usr.erofs";
pub const VERITY: &str = "usr.verity";
pub const UKI: &str = "uki.efi";
pub const LOADER: &str = "loader.efi";
pub const KEYS: &str = "keys";
/// The boot loader in the system's packages and in the tools tree.
pub const BOOT_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot write the partitions of the disk")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    BootImage(#[from] BootImageError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Keys(#[from] EnrolmentError),
    #[error("veritysetup printed no root hash")]
    RootHash,
}

#[derive(Debug)]
pub struct DiskInputs<'a> {
    /// The checkout, for `image/` and `os/cmdline`.
    pub checkout: &'a Path,
    /// The node's tree, which contains `usr`.
    pub system: &'a Path,
    /// The unpacked packages, which contain the kernel.
    pub base: &'a Path,
    pub initrd: &'a Path,
    pub release: &'a Release,
    pub channel: &'a str,
    pub sign: Option<&'a SigningKey>,
    pub tools: &'a Sandbox,
}

/// Writes `usr.erofs`, `usr.verity` and `root-hash` to `folder`.
pub fn build_usr(system: &Path, release: &Release, tools: &Sandbox, folder: &Path) -> Result<(), DiskError> {
    let (data, verity) = (folder.join(USR), folder.join(VERITY));
    run(command(tools, "mkfs.erofs")?
        .args(["--quiet", "--all-root", "-x-1", "-T"])
        .arg(release.epoch.to_string())
        .arg("-U")
        .arg(uuid("usr", &release.full_version()))
        .arg(&data)
        .arg(system.join("usr")))?;
    let hash_file = folder.join("root-hash");
    run(command(tools, "veritysetup")?
        .arg("format")
        .arg(format!("--uuid={}", verity_uuid(release)))
        .arg(format!("--salt={}", hex(&verity_salt(release))))
        .arg(format!("--root-hash-file={}", hash_file.display()))
        .arg(&data)
        .arg(&verity))?;
    Ok(())
}

/// The salt of a release's hash tree, derived from its version.
#[must_use]
pub fn verity_salt(release: &Release) -> [u8; 32] {
    Sha256::digest(release.full_version()).into()
}

#[must_use]
pub fn verity_uuid(release: &Release) -> String {
    uuid("verity", &release.full_version())
}

/// Reads `root-hash` of [`build_usr`]: 64 hex digits.
pub fn root_hash(folder: &Path) -> Result<String, DiskError> {
    let path = folder.join("root-hash");
    let hash = fs::read_to_string(&path).at(&path)?.trim().to_owned();
    if is_root_hash(&hash) { Ok(hash) } else { Err(DiskError::RootHash) }
}

fn is_root_hash(text: &str) -> bool {
    text.len() == ROOT_HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Writes `disk.raw` and `uki.efi` to `folder`; `usr` is the folder of [`build_usr`].
pub fn build_disk(inputs: &DiskInputs<'_>, usr: &Path, folder: &Path) -> Result<(), DiskError> {
    let hash = root_hash(usr)?;
    let (uki, loader, keys) = (folder.join(UKI), folder.join(LOADER), folder.join(KEYS));
    build_uki(inputs, &hash, &uki)?;
    install_loader(inputs, &loader)?;
    if let Some(sign) = inputs.sign {
        let request =
            KeyRequest { sign, base: inputs.base, epoch: inputs.release.epoch, tools: inputs.tools };
        write_keys(&request, &folder.join("bootctl"), &keys)?;
    }
    let Release { id, version, epoch, .. } = inputs.release;
    let full_version = inputs.release.full_version();
    let layout = Layout {
        checkout: inputs.checkout,
        id,
        version,
        full_version: &full_version,
        epoch: *epoch,
        root_hash: &hash,
        channel: inputs.channel,
        usr: &usr.join(USR),
        verity: &usr.join(VERITY),
        uki: &uki,
        loader: &loader,
        keys: inputs.sign.map(|_| &*keys),
        oem: None,
        size: None,
        tools: inputs.tools,
    };
    write_disk(&layout, folder)
}

/// The finished parts of a version, and the parameters of its disk.
#[derive(Debug)]
pub struct Layout<'a> {
    /// The checkout, for `image/`.
    pub checkout: &'a Path,
    /// Prefix of boot image names.
    pub id: &'a str,
    /// Three numbers.
    pub version: &'a str,
    /// With its mark.
    pub full_version: &'a str,
    /// Unix time of all files.
    pub epoch: u64,
    /// 64 hex digits.
    pub root_hash: &'a str,
    pub channel: &'a str,
    pub usr: &'a Path,
    pub verity: &'a Path,
    /// The unified kernel image.
    pub uki: &'a Path,
    pub loader: &'a Path,
    /// Folder with keys to enrol, which is copied to the ESP.
    pub keys: Option<&'a Path>,
    /// Folder that is copied to the OEM partition.
    pub oem: Option<&'a Path>,
    /// Size of the disk in GiB; by default the smallest.
    pub size: Option<u32>,
    pub tools: &'a Sandbox,
}

/// Writes `disk.raw` to `folder`. The same parts always produce the same bytes.
pub fn write_disk(layout: &Layout<'_>, folder: &Path) -> Result<(), DiskError> {
    let hash = layout.root_hash;
    if !is_root_hash(hash) {
        return Err(DiskError::RootHash);
    }
    let (esp, oem, definitions) = (folder.join("esp"), folder.join("oem"), folder.join("repart.d"));
    fill_esp(layout, &esp)?;
    make_folder(&oem)?;
    if let Some(layer) = layout.oem {
        apply_layer(layer, &oem)?;
    }
    write_file(&oem.join("update.conf"), format!("GROUP={}\n", layout.channel).as_bytes(), 0o644)?;
    set_times(&esp, layout.epoch)?;
    set_times(&oem, layout.epoch)?;
    let (usr_uuid, verity_uuid) = (partition_uuid(&hash[..32]), partition_uuid(&hash[32..]));
    let source = layout.checkout.join("image/repart.d");
    for name in walk(&source)? {
        let file = source.join(&name);
        let text = fs::read_to_string(&file)
            .at(&file)?
            .replace("@ESP@", &esp.to_string_lossy())
            .replace("@OEM@", &oem.to_string_lossy())
            .replace("@USR@", &layout.usr.to_string_lossy())
            .replace("@VERITY@", &layout.verity.to_string_lossy())
            .replace("@USR_UUID@", &usr_uuid)
            .replace("@VERITY_UUID@", &verity_uuid);
        write_file(&definitions.join(&name), text.as_bytes(), 0o644)?;
    }
    let seed = uuid("disk", layout.full_version);
    run(command(layout.tools, "systemd-repart")?
        .args(["--offline=yes", "--empty=create", "--dry-run=no", "--no-pager"])
        .arg(layout.size.map_or_else(|| "--size=auto".to_owned(), |size| format!("--size={size}G")))
        .arg(format!("--seed={seed}"))
        .arg(format!("--definitions={}", definitions.display()))
        .arg(folder.join("disk.raw"))
        .env("SOURCE_DATE_EPOCH", layout.epoch.to_string())
        .env("SYSTEMD_REPART_MKFS_OPTIONS_EXT4", format!("-E hash_seed={seed}"))
        .env("TZ", "UTC"))?;
    Ok(())
}

fn build_uki(inputs: &DiskInputs<'_>, hash: &str, uki: &Path) -> Result<(), DiskError> {
    let mut arguments = command_line(inputs.checkout)?;
    arguments.push(root_hash_argument(hash));
    let image = BootImage {
        kernel: &kernel_file(inputs.base)?,
        initrd: inputs.initrd,
        command_line: &arguments,
        os_release: &inputs.system.join("usr/lib/os-release"),
        epoch: inputs.release.epoch,
        sign: inputs.sign,
        tools: inputs.tools,
    };
    Ok(image.write(uki)?)
}

fn install_loader(inputs: &DiskInputs<'_>, loader: &Path) -> Result<(), DiskError> {
    let unsigned = inputs.base.join(BOOT_LOADER);
    match inputs.sign {
        None => write_file(loader, &fs::read(&unsigned).at(&unsigned)?, 0o644)?,
        Some(sign) => {
            let mut sbsign = command(inputs.tools, "sbsign")?;
            sbsign.arg("--key").arg(&sign.key).arg("--cert").arg(&sign.certificate);
            run(sbsign.arg("--output").arg(loader).arg(&unsigned))?;
        }
    }
    Ok(())
}

fn fill_esp(layout: &Layout<'_>, esp: &Path) -> Result<(), DiskError> {
    let name = format!("{}_{}+{BOOT_TRIES}-0.efi", layout.id, layout.version);
    apply_layer(&layout.checkout.join("image/esp"), esp)?;
    if let Some(keys) = layout.keys {
        apply_layer(keys, esp)?;
    }
    let loader = fs::read(layout.loader).at(layout.loader)?;
    write_file(&esp.join("EFI/BOOT/BOOTX64.EFI"), &loader, 0o644)?;
    write_file(&esp.join("EFI/systemd/systemd-bootx64.efi"), &loader, 0o644)?;
    write_file(&esp.join("EFI/Linux").join(name), &fs::read(layout.uki).at(layout.uki)?, 0o644)?;
    Ok(())
}

/// Sets the time of every file, which the tools that create file systems copy.
pub(crate) fn set_times(folder: &Path, epoch: u64) -> Result<(), TreeError> {
    use nix::sys::time::{TimeVal, TimeValLike};
    let time = TimeVal::seconds(i64::try_from(epoch).unwrap_or(i64::MAX));
    let mut paths = walk(folder)?;
    paths.reverse();
    paths.push(PathBuf::new());
    for path in paths {
        let file = folder.join(path);
        nix::sys::stat::utimes(&file, &time, &time).map_err(std::io::Error::from).at(&file)?;
    }
    Ok(())
}

/// Discoverable Partitions Specification: half of a root hash as a UUID.
fn partition_uuid(digits: &str) -> String {
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..32]].join("-")
}

/// A UUID that is derived from a name, as text.
#[must_use]
pub fn uuid(kind: &str, name: &str) -> String {
    partition_uuid(&hex(&uuid_bytes(kind, name)))
}

/// A UUID that is derived from a name (RFC 9562, version 8).
#[must_use]
pub fn uuid_bytes(kind: &str, name: &str) -> [u8; 16] {
    let digest = Sha256::digest(format!("keelson\0{kind}\0{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_derived_from_names() {
        assert_eq!(
            partition_uuid("00112233445566778899aabbccddeeff"),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(uuid("usr", "1"), uuid("usr", "1"));
        assert_ne!(uuid("usr", "1"), uuid("disk", "1"));
        assert_eq!(uuid("usr", "1").as_bytes()[14], b'8');
    }
}
