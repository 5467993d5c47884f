//! Builds further versions of the image under test in seconds: the same content under another version, or with a
//! fault.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::enrolment::SigningKey;
use memchr::memmem;
use payload::verity::{Hasher, Parameters};
use release::{Digest, Verity, Version};
use release_folder::{
    FinishedImages, ImageFiles, ReleaseInfo, ReleaseSpec, build_release, create_unencrypted,
};

use crate::failure::{Failure, expect};
use crate::scenario::Run;
use crate::signing::sign_again;

/// Application id of the image under test.
const APPID: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";
const BOARD: &str = "amd64-usr";
/// Compression level of payloads: fast, as they are not downloaded.
const QUICK: i32 = 1;
/// Offset of the erofs superblock.
const SUPERBLOCK: usize = 1024;
/// Seconds that releases and keys are valid.
const VALIDITY: u64 = 86_400;
const CHUNK: usize = 4 << 20;
const VERITY_PARTITION: &str = "USR-A-verity";
/// Offsets in dm-verity's superblock.
const UUID: usize = 16;
const SALT: usize = 88;

/// Fault of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// `/usr` is correctly signed but not a file system.
    DoesNotBoot,
    /// The kernel finds no init and panics: the machine leaves it in seconds, where others wait for devices.
    NoInit,
    /// The initrd starts and hangs.
    HangsInInitrd,
    /// A unit that every boot starts fails.
    Unhealthy,
    /// The kernel panics a minute after boot.
    Panics,
    /// The boot image is not signed for Secure Boot.
    NotSigned,
}

/// A unit that every boot starts and on which nothing depends: faults are put there.
const UNIT: &str = include_str!("../../../units/usr/lib/systemd/system/coreos-setup-environment.service");
const PROGRAM: &str = "ExecStart=/usr/lib/keelson/coreos-setup-environment ";
const NO_PROGRAM: &str = "ExecStart=/usr/lib/keelson/coreos-setup-environmenT ";
/// Kernel arguments that a boot can do without, which faults replace.
const SPARE_ARGUMENTS: &str = "systemd.show_status=auto systemd.firstboot=off";
const NO_INIT: &str = "rdinit=/no-such-file";
const INITRD_ONLY: &str = "rd.systemd.unit=basic.target";
const PANIC: &str = "[Unit]\nDescription=A minute, and then the end\n[Service]\n\
    ExecStart=/usr/bin/bash -c 'sleep 60; echo c >/proc/sysrq-trigger'\n";

/// Signing keys, and what machines need to trust them.
pub struct Keys {
    folder: PathBuf,
    /// The content of `root.json`.
    pub root: String,
    /// Signs boot images for Secure Boot.
    pub secure_boot: Option<SigningKey>,
}

impl Keys {
    pub fn make(folder: &Path) -> Result<Self, Failure> {
        let path = create_unencrypted(folder, "test", now() + VALIDITY).map_err(other)?.root;
        let root = fs::read_to_string(&path).map_err(|source| Failure::Disk { path, source })?;
        Ok(Self { root, secure_boot: None, folder: folder.to_owned() })
    }

    /// Path of the channel's secret key.
    pub fn channel_key(&self) -> PathBuf {
        release_folder::secret_key_path(&self.folder, "channel")
    }
}

/// Unix time in seconds.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn other(error: impl std::error::Error) -> Failure {
    Failure::Expected(service::error::chain(&error))
}

/// Builds a release of `version` below `releases` from the image under test; `older` is another one built so.
pub fn release(
    run: &Run,
    keys: &Keys,
    version: &str,
    fault: Fault,
    older: &[&str],
    releases: &Path,
) -> Result<(), Failure> {
    let work = releases.join(format!(".{version}"));
    let failed = |source| Failure::Disk { path: work.clone(), source };
    fs::create_dir_all(&work).map_err(failed)?;
    let (usr, uki) = (work.join("usr"), work.join("uki"));
    let same_length = version.len() == run.image.version.len();
    expect(same_length, &format!("a number as long as {}", run.image.version), version)?;
    let numbers = (run.image.version.as_bytes(), version.as_bytes());
    renumber(&run.image.usr_erofs, &usr, numbers, fault).map_err(failed)?;
    let parameters = Parameters { salt: vec![7; 32], uuid: [8; 16] };
    let root_hash = root_hash(&usr, &parameters).map_err(failed)?;
    let mut boot_image = boot_image(&run.image.raw)?;
    replace(&mut boot_image, numbers.0, numbers.1);
    let at = root_hash_at(&boot_image)?;
    boot_image[at..][..64].copy_from_slice(root_hash.to_string().as_bytes());
    match fault {
        Fault::NoInit => add_argument(&mut boot_image, NO_INIT)?,
        Fault::HangsInInitrd => add_argument(&mut boot_image, INITRD_ONLY)?,
        _ => {}
    }
    fs::write(&uki, boot_image).map_err(failed)?;
    if let Some(key) = &keys.secure_boot {
        sign_again(run, &uki, Some(key).filter(|_| fault != Fault::NotSigned))?;
    }
    let verity =
        Verity { root_hash, salt: Digest([7; 32]), uuid: "08080808-0808-0808-0808-080808080808".to_owned() };
    make_release(keys, version, (&ImageFiles { usr: &usr, uki: &uki, verity }, &[]), older, releases)?;
    fs::remove_dir_all(&work).map_err(failed)
}

/// Builds a release of the version that machines first boot, so that deltas can start from it, or with its image files.
pub fn release_of_running(
    run: &Run,
    keys: &Keys,
    image_files: &[FinishedImages],
    releases: &Path,
) -> Result<(), Failure> {
    let work = releases.join(format!(".{}", run.image.version));
    let failed = |source| Failure::Disk { path: work.clone(), source };
    fs::create_dir_all(&work).map_err(failed)?;
    let boot_image = boot_image(&run.image.raw)?;
    let at = root_hash_at(&boot_image)?;
    let hash = String::from_utf8_lossy(&boot_image[at..][..64]).into_owned();
    let uki = work.join("uki");
    fs::write(&uki, boot_image).map_err(failed)?;
    let verity = verity_of_disk(&run.image.raw, hash.parse().map_err(other)?)?;
    let files = ImageFiles { usr: &run.image.usr_erofs, uki: &uki, verity };
    make_release(keys, &run.image.version, (&files, image_files), &[], releases)?;
    fs::remove_dir_all(&work).map_err(failed)
}

fn make_release(
    keys: &Keys,
    version: &str,
    (images, image_files): (&ImageFiles<'_>, &[FinishedImages]),
    older: &[&str],
    releases: &Path,
) -> Result<(), Failure> {
    let info = ReleaseInfo {
        appid: APPID.to_owned(),
        board: BOARD.to_owned(),
        channels: vec!["alpha".to_owned(), "beta".to_owned()],
        version: version.parse::<Version>().map_err(other)?,
        epoch: 0,
        build_time: 1,
        expires: now() + VALIDITY,
        min_from: None,
        notes_url: None,
    };
    let secret = release_folder::SigningKey::read(&keys.folder.join("release.key")).map_err(other)?;
    let older: Vec<PathBuf> = older.iter().map(|version| releases.join(version)).collect();
    let images = images.clone();
    let spec = ReleaseSpec {
        images,
        info,
        signer: secret.signer(),
        older: &older,
        image_files,
        keys: &keys.folder,
        level: QUICK,
    };
    build_release(&spec, &releases.join(version), &mut |_, _| ()).map(|_| ()).map_err(other)
}

/// Offset of the root hash of `/usr`, 64 hexadecimal digits, in a boot image's kernel command line.
fn root_hash_at(boot_image: &[u8]) -> Result<usize, Failure> {
    let key = b"usrhash=";
    let at = memmem::find(boot_image, key);
    at.map(|at| at + key.len())
        .filter(|at| boot_image.len() >= at + 64)
        .ok_or_else(|| Failure::Expected("a boot image with usrhash=".into()))
}

/// Salt and UUID of the hash tree in slot A of a raw disk, from dm-verity's superblock.
fn verity_of_disk(raw: &Path, root_hash: Digest) -> Result<Verity, Failure> {
    let failed = |source| Failure::Disk { path: raw.to_owned(), source };
    let mut file = File::open(raw).map_err(failed)?;
    let start = partition(raw, VERITY_PARTITION)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut superblock = [0; 512];
    file.read_exact(&mut superblock).map_err(failed)?;
    expect(superblock.starts_with(b"verity\0\0"), "dm-verity's superblock", "another one")?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let salt = hex(&superblock[SALT..SALT + 32]).parse().map_err(other)?;
    let uuid = hex(&superblock[UUID..UUID + 16]);
    let uuid = [&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]].join("-");
    Ok(Verity { root_hash, salt, uuid })
}

/// Copies an image with another version everywhere, and with the fault: the image is not compressed.
fn renumber(from: &Path, to: &Path, (old, new): (&[u8], &[u8]), fault: Fault) -> io::Result<()> {
    let mut bytes = fs::read(from)?;
    replace(&mut bytes, old, new);
    match fault {
        // These are faults of the boot image.
        Fault::None | Fault::NotSigned | Fault::NoInit | Fault::HangsInInitrd => {}
        Fault::DoesNotBoot => {
            if let Some(magic) = bytes.get_mut(SUPERBLOCK..SUPERBLOCK + 4) {
                magic.fill(0);
            }
        }
        Fault::Unhealthy => change_unit(&mut bytes, UNIT.replace(PROGRAM, NO_PROGRAM))?,
        Fault::Panics => change_unit(&mut bytes, PANIC.to_owned())?,
    }
    fs::write(to, bytes)
}

/// Replaces [`UNIT`]'s text, padded with empty lines to the same length.
fn change_unit(bytes: &mut [u8], mut text: String) -> io::Result<()> {
    text.extend(std::iter::repeat_n('\n', UNIT.len().saturating_sub(text.len())));
    let at = memmem::find(bytes, UNIT.as_bytes());
    match at.and_then(|at| bytes.get_mut(at..at + UNIT.len())) {
        Some(location) if text.len() == UNIT.len() && text != UNIT => {
            location.copy_from_slice(text.as_bytes())
        }
        _ => return Err(io::Error::other("coreos-setup-environment.service is not as the image has it")),
    }
    Ok(())
}

/// Puts an argument into the kernel command line of a boot image, in place of [`SPARE_ARGUMENTS`].
fn add_argument(boot_image: &mut [u8], argument: &str) -> Result<(), Failure> {
    let found = memmem::find(boot_image, SPARE_ARGUMENTS.as_bytes());
    expect(found.is_some(), &format!("{SPARE_ARGUMENTS} on the command line"), "a boot image without them")?;
    let padded = format!("{argument:length$}", length = SPARE_ARGUMENTS.len());
    replace(boot_image, SPARE_ARGUMENTS.as_bytes(), padded.as_bytes());
    Ok(())
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let places: Vec<_> = memmem::find_iter(bytes, old).collect();
    for at in places {
        bytes[at..][..new.len()].copy_from_slice(new);
    }
}

fn root_hash(usr: &Path, parameters: &Parameters) -> io::Result<Digest> {
    let mut file = File::open(usr)?;
    let length = file.metadata()?.len();
    let mut hasher = Hasher::new(parameters, length).map_err(io::Error::other)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hasher.finish().map_err(io::Error::other)?.root);
        }
        hasher.update(&chunk[..read]);
    }
}

/// Offset of the partition of that name on a raw disk, in bytes.
fn partition(raw: &Path, name: &str) -> Result<u64, Failure> {
    let wrong = |source| Failure::Partitions { path: raw.to_owned(), source };
    let table = gpt::GptConfig::new().writable(false).open(raw).map_err(wrong)?;
    let found = table.partitions().values().find(|part| part.name == name);
    found.map(|part| part.first_lba * 512).ok_or_else(|| Failure::Expected(format!("a partition {name}")))
}

/// Reads the boot image of a raw disk.
fn boot_image(raw: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::Disk { path: raw.to_owned(), source };
    let start = partition(raw, "EFI-SYSTEM")?;
    let mut file = File::open(raw).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let system = fatfs::FileSystem::new(Part { file, start }, fatfs::FsOptions::new()).map_err(failed)?;
    let folder = system.root_dir().open_dir("EFI/Linux").map_err(failed)?;
    let mut bytes = Vec::new();
    for entry in folder.iter() {
        let entry = entry.map_err(failed)?;
        if entry.file_name().ends_with(".efi") {
            entry.to_file().read_to_end(&mut bytes).map_err(failed)?;
        }
    }
    expect(!bytes.is_empty(), "a boot image", "none")?;
    Ok(bytes)
}

/// A read-only partition within a file.
struct Part {
    file: File,
    start: u64,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl io::Write for Part {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => SeekFrom::Start(self.start + to),
            other => other,
        };
        Ok(self.file.seek(to)?.saturating_sub(self.start))
    }
}
