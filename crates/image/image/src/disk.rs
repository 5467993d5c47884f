//! From trees to a disk: erofs, verity, the unified kernel image, partitions.
//!
//! Every tool comes from the locked tools tree, nothing is mounted, and every identifier follows from the
//! content, so that the same inputs give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;
use sha2::{Digest, Sha256};

use crate::enrolment::{EnrolmentError, Order, SigningKey, put_keys};
use crate::fetch::hex;
use crate::kernel::{KernelError, kernel_folder};
use crate::release::Release;
use crate::tool::{ToolError, command, run};
use crate::tree::{At, TreeError, lay_over, make_folder, put, walk};

/// Hex digits of dm-verity's SHA-256 root hash.
const ROOT_HASH_DIGITS: usize = 64;
/// How often systemd-boot tries a new version before it goes back.
const BOOT_TRIES: u32 = 3;
/// The names of a slot's parts in their folder.
const USR: &str = "usr.erofs";
const VERITY: &str = "usr.verity";
/// The boot loader in a tree that has it: the system's packages, or the tools.
pub const BOOT_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi";

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot write the disk's parts")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Keys(#[from] EnrolmentError),
    #[error("veritysetup gave no root hash")]
    RootHash,
}

/// What a disk is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The checkout, for `image/` and `os/cmdline`.
    pub checkout: &'a Path,
    /// The node's tree, with `usr`.
    pub system: &'a Path,
    /// The unpacked packages, with the kernel.
    pub base: &'a Path,
    pub initrd: &'a Path,
    pub release: &'a Release,
    pub channel: &'a str,
    pub sign: Option<&'a SigningKey>,
    pub tools: &'a Sandbox,
}

/// `usr.erofs`, `usr.verity` and `root-hash` in `folder`.
pub fn make_usr(system: &Path, release: &Release, tools: &Sandbox, folder: &Path) -> Result<(), DiskError> {
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

/// The salt of a release's hash tree, which follows from its version.
#[must_use]
pub fn verity_salt(release: &Release) -> [u8; 32] {
    Sha256::digest(release.full_version()).into()
}

/// The UUID in its superblock.
#[must_use]
pub fn verity_uuid(release: &Release) -> String {
    uuid("verity", &release.full_version())
}

/// Reads `root-hash` of [`make_usr`]: 64 hex digits.
pub fn root_hash(folder: &Path) -> Result<String, DiskError> {
    let path = folder.join("root-hash");
    let hash = fs::read_to_string(&path).at(&path)?.trim().to_owned();
    if is_root_hash(&hash) { Ok(hash) } else { Err(DiskError::RootHash) }
}

fn is_root_hash(text: &str) -> bool {
    text.len() == ROOT_HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes `disk.raw` in `folder` from the `usr` folder that [`make_usr`] filled, with its boot image `uki.efi`.
pub fn make_disk(parts: &Parts<'_>, usr: &Path, folder: &Path) -> Result<(), DiskError> {
    let hash = root_hash(usr)?;
    let (uki, loader) = (folder.join("uki.efi"), folder.join("loader.efi"));
    make_uki(parts, &hash, &uki)?;
    make_loader(parts, &loader)?;
    let keys = folder.join("keys");
    if let Some(sign) = parts.sign {
        let order = Order { sign, base: parts.base, epoch: parts.release.epoch, tools: parts.tools };
        put_keys(&order, &folder.join("bootctl"), &keys)?;
    }
    let Release { id, version, epoch, .. } = parts.release;
    let full_version = parts.release.full_version();
    let layout = Layout {
        checkout: parts.checkout,
        id,
        version,
        full_version: &full_version,
        epoch: *epoch,
        root_hash: &hash,
        channel: parts.channel,
        usr: &usr.join(USR),
        verity: &usr.join(VERITY),
        uki: &uki,
        loader: &loader,
        keys: parts.sign.map(|_| &*keys),
        tools: parts.tools,
    };
    lay_out(&layout, folder)
}

/// A version's finished parts, and how they come to stand on a disk.
#[derive(Debug)]
pub struct Layout<'a> {
    /// The checkout, for `image/`.
    pub checkout: &'a Path,
    /// How boot images' names begin.
    pub id: &'a str,
    /// Three numbers.
    pub version: &'a str,
    /// With its mark.
    pub full_version: &'a str,
    /// Seconds since 1970: the time of all files.
    pub epoch: u64,
    /// 64 hex digits.
    pub root_hash: &'a str,
    pub channel: &'a str,
    pub usr: &'a Path,
    pub verity: &'a Path,
    /// The boot image.
    pub uki: &'a Path,
    /// The boot loader.
    pub loader: &'a Path,
    /// What else stands on the boot partition: the keys to enrol.
    pub keys: Option<&'a Path>,
    pub tools: &'a Sandbox,
}

/// Makes `disk.raw` in `folder`. The same parts give the same bytes, whoever made them.
pub fn lay_out(layout: &Layout<'_>, folder: &Path) -> Result<(), DiskError> {
    let hash = layout.root_hash;
    if !is_root_hash(hash) {
        return Err(DiskError::RootHash);
    }
    let (esp, oem, definitions) = (folder.join("esp"), folder.join("oem"), folder.join("repart.d"));
    fill_esp(layout, &esp)?;
    make_folder(&oem)?;
    put(&oem.join("update.conf"), format!("GROUP={}\n", layout.channel).as_bytes(), 0o644)?;
    date(&esp, layout.epoch)?;
    date(&oem, layout.epoch)?;
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
        put(&definitions.join(&name), text.as_bytes(), 0o644)?;
    }
    let seed = uuid("disk", layout.full_version);
    run(command(layout.tools, "systemd-repart")?
        .args(["--offline=yes", "--empty=create", "--size=auto", "--dry-run=no", "--no-pager"])
        .arg(format!("--seed={seed}"))
        .arg(format!("--definitions={}", definitions.display()))
        .arg(folder.join("disk.raw"))
        .env("SOURCE_DATE_EPOCH", layout.epoch.to_string())
        .env("SYSTEMD_REPART_MKFS_OPTIONS_EXT4", format!("-E hash_seed={seed}"))
        .env("TZ", "UTC"))?;
    Ok(())
}

fn make_uki(parts: &Parts<'_>, hash: &str, uki: &Path) -> Result<(), DiskError> {
    let kernel = kernel_folder(parts.base)?;
    let words = parts.checkout.join("os/cmdline");
    let mut line: Vec<String> = fs::read_to_string(&words)
        .at(&words)?
        .lines()
        .filter_map(|line| line.split('#').next().map(str::trim).filter(|word| !word.is_empty()))
        .map(str::to_owned)
        .collect();
    line.push(format!("usrhash={hash}"));
    let os_release = parts.system.join("usr/lib/os-release");
    let mut ukify = command(parts.tools, "ukify")?;
    ukify
        .arg("build")
        .arg(format!("--linux={}", kernel.join("vmlinuz").display()))
        .arg(format!("--initrd={}", parts.initrd.display()))
        .arg(format!("--cmdline={}", line.join(" ")))
        .arg(format!("--os-release=@{}", os_release.display()))
        .arg(format!("--uname={}", kernel.file_name().unwrap_or_default().to_string_lossy()))
        .arg("--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
        .arg(format!("--output={}", uki.display()))
        .env("SOURCE_DATE_EPOCH", parts.release.epoch.to_string());
    if let Some(sign) = parts.sign {
        ukify
            .arg(format!("--secureboot-private-key={}", sign.key.display()))
            .arg(format!("--secureboot-certificate={}", sign.certificate.display()));
    }
    run(&mut ukify)?;
    Ok(())
}

fn make_loader(parts: &Parts<'_>, loader: &Path) -> Result<(), DiskError> {
    let unsigned = parts.base.join(BOOT_LOADER);
    match parts.sign {
        None => put(loader, &fs::read(&unsigned).at(&unsigned)?, 0o644)?,
        Some(sign) => {
            let mut sbsign = command(parts.tools, "sbsign")?;
            sbsign.arg("--key").arg(&sign.key).arg("--cert").arg(&sign.certificate);
            run(sbsign.arg("--output").arg(loader).arg(&unsigned))?;
        }
    }
    Ok(())
}

fn fill_esp(layout: &Layout<'_>, esp: &Path) -> Result<(), DiskError> {
    let name = format!("{}_{}+{BOOT_TRIES}-0.efi", layout.id, layout.version);
    lay_over(&layout.checkout.join("image/esp"), esp)?;
    if let Some(keys) = layout.keys {
        lay_over(keys, esp)?;
    }
    let loader = fs::read(layout.loader).at(layout.loader)?;
    put(&esp.join("EFI/BOOT/BOOTX64.EFI"), &loader, 0o644)?;
    put(&esp.join("EFI/systemd/systemd-bootx64.efi"), &loader, 0o644)?;
    put(&esp.join("EFI/Linux").join(name), &fs::read(layout.uki).at(layout.uki)?, 0o644)?;
    Ok(())
}

/// Gives every file the same time: the tools that fill file systems copy it.
fn date(folder: &Path, epoch: u64) -> Result<(), DiskError> {
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

/// Discoverable Partitions: half of a root hash, written as a UUID.
fn partition_uuid(digits: &str) -> String {
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..32]].join("-")
}

/// A UUID that follows from what it names (RFC 9562, version 8).
#[must_use]
pub fn uuid(kind: &str, name: &str) -> String {
    let mut bytes = Sha256::digest(format!("keelson\0{kind}\0{name}"));
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    partition_uuid(&hex(&bytes)[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_follow_from_names() {
        assert_eq!(
            partition_uuid("00112233445566778899aabbccddeeff"),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(uuid("usr", "1"), uuid("usr", "1"));
        assert_ne!(uuid("usr", "1"), uuid("disk", "1"));
        assert_eq!(uuid("usr", "1").as_bytes()[14], b'8');
    }
}
