//! The live system: the disk of a build in its initrd, so that a kernel that was loaded over the network boots it.
//!
//! The initrd of a build is followed by an archive with the disk in a compressed, read-only file system. The live system
//! runs the very bytes of a disk, under the same root hash, and can install them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{self, ModeFileType};
use sandbox::Sandbox;
use serde_json::json;

use crate::boot_image::{BootImage, command_line, root_hash_argument};
use crate::disk::uuid;
use crate::fetch::sha256_of;
use crate::source::{EncodeError, Source};
use crate::tool::{command, run};
use crate::tree::{PathContext, make_folder, write_file};

/// The file system in the initrd, and the disk in it.
pub const IMAGE: &str = "live/image.erofs";
pub const DISK: &str = "disk.raw";
/// Temporary files, also the parts that formats share.
const FOLDER: &str = "live";
const IMAGE_FILE: &str = "live.erofs";
const INITRD: &str = "live-initrd.img";
/// zstd at this level and cluster size takes a third of the time of better ones, for a file that is larger by a tenth.
const COMPRESSION: [&str; 2] = ["-zzstd,level=3", "-C131072"];
/// mkfs.erofs compresses parts of a file at a time. Their number must not depend on the host.
const WORKERS: &str = "--workers=2";
/// Arguments for the root file system of a disk. A live system has its own by default.
const DISK_ARGUMENTS: [&str; 2] = ["root", "mount.usr"];
/// The root file system is in memory, and the kernel does not limit the initrd to half of the memory: firmware of UEFI
/// still has copies of the initrd when the limit is computed.
const UNLIMITED_INITRD: &str = "root=tmpfs";
/// The kernel reads an archive that follows a compressed one from a multiple of this offset.
const ALIGNMENT: u64 = 4;
/// iPXE searches each file for a line with this beginning, byte by byte: without one it takes 1.8 s of an emulated boot to
/// search the whole initrd.
const PEM_MARKER: &str = "\n-----BEGIN\n";
/// Bytes that follow the file system: a block, whose end is the root hash.
const END: usize = 4096;

/// The file system with the disk and its record, `disk.raw` and `record.json`.
fn image(source: &Source<'_>) -> Result<PathBuf, EncodeError> {
    let image = source.scratch.join(IMAGE_FILE);
    if image.exists() {
        return Ok(image);
    }
    let folder = source.scratch.join(FOLDER);
    make_folder(&folder)?;
    let disk = folder.join(DISK);
    fs::hard_link(source.raw, &disk).at(&disk)?;
    let sha256 = match source.sha256 {
        Some(known) => known.to_owned(),
        None => sha256_of(source.raw).at(source.raw)?,
    };
    let record = json!({
        "version": source.built.version,
        "channel": source.built.channel,
        "usr_root_hash": source.built.usr_root_hash,
        "disk_sha256": sha256,
        "disk_chunks": source.digest,
        "disk_bytes": fs::metadata(source.raw).at(source.raw)?.len(),
    });
    write_file(&folder.join("record.json"), format!("{record:#}\n").as_bytes(), 0o644)?;
    let tools = Sandbox::new(&source.built.tools)?.share(source.scratch);
    run(command(&tools, "mkfs.erofs")?
        .args(["--quiet", "--all-root", "-x-1", WORKERS])
        .args(COMPRESSION)
        .arg(format!("-T{}", source.built.release.epoch))
        .arg("-U")
        .arg(uuid("live", &source.digest))
        .arg(&image)
        .arg(&folder))?;
    Ok(image)
}

/// The initrd of the build, and the image.
pub fn initrd(source: &Source<'_>) -> Result<PathBuf, EncodeError> {
    let initrd = source.scratch.join(INITRD);
    if !initrd.exists() {
        let image = image(source)?;
        append(source, &image, &initrd).at(&initrd)?;
    }
    Ok(initrd)
}

fn append(source: &Source<'_>, image: &Path, to: &Path) -> io::Result<()> {
    let mut out = source.create(to)?;
    let bytes = io::copy(&mut File::open(&source.built.initrd)?, &mut out)?;
    let padding = bytes.next_multiple_of(ALIGNMENT) - bytes;
    io::copy(&mut io::repeat(0).take(padding), &mut out)?;
    let root_hash = &source.built.usr_root_hash;
    let properties = format!("USR_ROOT_HASH={root_hash}\n");
    let out = add(out, 1, "live", ModeFileType::Directory, 0, io::empty())?;
    let text = |out, number, name, text: &str| {
        add(out, number, name, ModeFileType::Regular, text.len() as u64, text.as_bytes())
    };
    let out = text(out, 2, "live/image.conf", &properties)?;
    let out = text(out, 3, "live/ipxe", PEM_MARKER)?;
    // A kernel that runs out of memory stops unpacking: the initrd looks for the end of the file.
    let end = format!("{root_hash:>END$}");
    let bytes = image.metadata()?.len() + end.len() as u64;
    let image = File::open(image)?.chain(end.as_bytes());
    let out = add(out, 4, IMAGE, ModeFileType::Regular, bytes, image)?;
    newc::trailer(out)?.flush()
}

/// Adds a file or folder to an archive.
fn add<W: Write>(
    out: W,
    number: u32,
    name: &str,
    kind: ModeFileType,
    bytes: u64,
    mut content: impl Read,
) -> io::Result<W> {
    let (links, mode) = if matches!(kind, ModeFileType::Directory) { (2, 0o755) } else { (1, 0o644) };
    let header = newc::Builder::new(name).ino(number).nlink(links).mode(mode).set_mode_file_type(kind);
    let mut entry = header.write(out, u32::try_from(bytes).map_err(io::Error::other)?);
    io::copy(&mut content, &mut entry)?;
    entry.finish()
}

/// Makes the kernel command line of a disk that of a live system, which boots only its own image.
pub fn arguments(of_disk: &mut Vec<String>, root_hash: &str) {
    of_disk.retain(|argument| !DISK_ARGUMENTS.iter().any(|prefix| argument.starts_with(prefix)));
    of_disk.extend([UNLIMITED_INITRD.to_owned(), root_hash_argument(root_hash)]);
}

/// Kernel and initrd as one program, for firmware that boots by HTTP. It boots only its own image.
pub fn boot_image(source: &Source<'_>, to: &Path) -> Result<(), EncodeError> {
    let initrd = initrd(source)?;
    let built = source.built;
    let mut line = command_line(&built.checkout)?;
    arguments(&mut line, &built.usr_root_hash);
    let shared = [to, &*built.kernel].into_iter().filter_map(Path::parent);
    let shared = shared.chain(
        built.sign.iter().flat_map(|sign| [&sign.key, &sign.certificate]).filter_map(|file| file.parent()),
    );
    let tools = shared.fold(Sandbox::new(&built.tools)?.share(source.scratch), Sandbox::share);
    let image = BootImage {
        kernel: &built.kernel,
        initrd: &initrd,
        command_line: &line,
        os_release: &built.usr_tree.join("usr/lib/os-release"),
        epoch: built.release.epoch,
        sign: built.sign.as_ref(),
        tools: &tools.share(&built.usr_tree),
    };
    Ok(image.write(to)?)
}
