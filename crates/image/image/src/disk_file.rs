//! The raw disk inside of a finished file of any format, which its content identifies.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cpio::newc;
use disk_formats::blocks::is_zero;
use disk_formats::{vhd, vhdx};
use sandbox::Sandbox;

use crate::iso::{BOOT_LOADER, INITRD, KERNEL};
use crate::iso_partition::{self, PartitionError};
use crate::live::{DISK as LIVE_DISK, IMAGE as LIVE_IMAGE};
use crate::tool::{ToolError, run};
use crate::tree::{PathContext, TreeError, remove};

/// Layers of the deepest format: a compressed archive of a disk image.
const LAYERS: usize = 4;
const SPARSE_BLOCK: usize = 64 << 10;
/// Magic number of an archive of the kernel's.
const CPIO: &[u8; 6] = b"070701";

#[derive(Debug, thiserror::Error)]
pub enum DiskFileError {
    #[error("cannot read the image")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] sandbox::SandboxError),
    #[error(transparent)]
    Iso(#[from] PartitionError),
    #[error("{path} is an archive without a disk")]
    NoDisk { path: PathBuf },
    #[error("{path} contains an archive in an archive")]
    Nested { path: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Or anything else: the reader of its partition table decides.
    Raw,
    Gzip,
    Zstd,
    /// The initrd of a live system: two archives, the first one compressed.
    LiveInitrd,
    /// A medium with the initrd of a live system.
    Iso,
    Tar,
    /// A disk image that qemu-img reads under this name.
    Image(&'static str),
}

/// Returns `file` itself if it is a raw disk, otherwise the disk in `scratch`. The sandbox shares both folders.
pub fn raw_disk(file: &Path, scratch: &Path, tools: &Sandbox) -> Result<PathBuf, DiskFileError> {
    let mut path = file.to_owned();
    for layer in 0..LAYERS {
        let kind = kind(&path).at(&path)?;
        let to = scratch.join(format!("layer-{layer}"));
        match kind {
            Kind::Raw => return Ok(path),
            Kind::Gzip => unpack(flate2::bufread::MultiGzDecoder::new(open(&path)?), &to).at(&path)?,
            Kind::Zstd => {
                let decoder = zstd::Decoder::with_buffer(open(&path)?).at(&path)?;
                unpack(decoder, &to).at(&path)?;
            }
            Kind::LiveInitrd => live_disk(&path, scratch, &to, tools)?,
            Kind::Iso => iso_partition::extract(&path, INITRD, &to)?,
            Kind::Tar => {
                if !extract(&path, &to).at(&path)? {
                    return Err(DiskFileError::NoDisk { path: file.to_owned() });
                }
            }
            Kind::Image(format) => {
                run(tools
                    .command("qemu-img")?
                    .args(["convert", "-f", format, "-O", "raw"])
                    .arg(&path)
                    .arg(&to))?;
            }
        }
        // A layer in between takes as much space as the disk.
        if path != file {
            std::fs::remove_file(&path).at(&path)?;
        }
        path = to;
    }
    Err(DiskFileError::Nested { path: file.to_owned() })
}

/// Copies what firmware of UEFI runs of a live system's medium to `folder`; nothing if `file` is something else.
pub fn live_programs(file: &Path, folder: &Path) -> Result<Vec<PathBuf>, DiskFileError> {
    let mut programs = Vec::new();
    if File::open(file).and_then(|mut file| iso_partition::is_iso(&mut file)).at(file)? {
        for (name, to) in [(BOOT_LOADER, "live-loader.efi"), (KERNEL, "live-kernel")] {
            let path = folder.join(to);
            iso_partition::extract(file, name, &path)?;
            programs.push(path);
        }
    }
    Ok(programs)
}

fn open(path: &Path) -> Result<BufReader<File>, TreeError> {
    Ok(BufReader::new(File::open(path).at(path)?))
}

fn kind(path: &Path) -> io::Result<Kind> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&file).take(512).read_to_end(&mut start)?;
    let found = match &*start {
        [b'Q', b'F', b'I', 0xfb, ..] => Kind::Image("qcow2"),
        [b'K', b'D', b'M', b'V', ..] => Kind::Image("vmdk"),
        [0x1f, 0x8b, ..] => Kind::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] if is_archive(&start) => Kind::LiveInitrd,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
        start if start.starts_with(b"<<< ") => Kind::Image("vdi"),
        start if start.starts_with(vhdx::SIGNATURE) => Kind::Image("vhdx"),
        start if start.get(257..262) == Some(b"ustar") => Kind::Tar,
        _ => Kind::Raw,
    };
    let length = file.metadata()?.len();
    if found == Kind::Raw && length > vhd::FOOTER as u64 {
        file.seek(SeekFrom::Start(length - vhd::FOOTER as u64))?;
        let mut cookie = [0; 8];
        file.read_exact(&mut cookie)?;
        if cookie == *vhd::COOKIE {
            return Ok(Kind::Image("vpc"));
        }
    }
    if found == Kind::Raw && iso_partition::is_iso(&mut file)? {
        return Ok(Kind::Iso);
    }
    Ok(found)
}

/// Whether the start of a zstd stream is that of an initrd.
fn is_archive(compressed: &[u8]) -> bool {
    let mut start = [0; CPIO.len()];
    let decoder = zstd::Decoder::with_buffer(compressed);
    decoder.and_then(|mut decoder| decoder.read_exact(&mut start)).is_ok() && start == *CPIO
}

/// Writes the disk of a live system's initrd.
fn live_disk(initrd: &Path, scratch: &Path, to: &Path, tools: &Sandbox) -> Result<(), DiskFileError> {
    let (image, folder) = (scratch.join("live.erofs"), scratch.join("live"));
    if !extract_live(initrd, &image).at(initrd)? {
        return Err(DiskFileError::NoDisk { path: initrd.to_owned() });
    }
    run(tools.command("fsck.erofs")?.arg(format!("--extract={}", folder.display())).arg(&image))?;
    std::fs::remove_file(&image).at(&image)?;
    std::fs::rename(folder.join(LIVE_DISK), to).at(to)?;
    Ok(remove(&folder)?)
}

/// Writes the file system with the disk; `false` if the initrd has none.
fn extract_live(initrd: &Path, to: &Path) -> io::Result<bool> {
    let mut system = zstd::Decoder::with_buffer(BufReader::new(File::open(initrd)?))?.single_frame();
    io::copy(&mut system, &mut io::sink())?;
    let mut archive = system.finish();
    while let [0, ..] = archive.fill_buf()? {
        archive.consume(1);
    }
    loop {
        let mut entry = newc::Reader::new(archive)?;
        if entry.entry().is_trailer() {
            return Ok(false);
        }
        if entry.entry().name() == LIVE_IMAGE {
            io::copy(&mut entry, &mut File::create(to)?)?;
            return Ok(true);
        }
        archive = entry.finish()?;
    }
}

/// Writes the content to a sparse file.
fn unpack(mut content: impl Read, to: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(SPARSE_BLOCK, File::create(to)?);
    let mut block = vec![0; SPARSE_BLOCK];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match content.read(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            break;
        }
        length += filled as u64;
        if is_zero(&block[..filled]) {
            out.seek(SeekFrom::Start(length))?;
        } else {
            out.write_all(&block[..filled])?;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.set_len(length)
}

/// Writes the archive's disk, a `.vmdk`, `.raw` or `.img`; `false` if there is none.
fn extract(archive: &Path, to: &Path) -> io::Result<bool> {
    let mut archive = tar::Archive::new(File::open(archive)?);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        if path
            .extension()
            .is_some_and(|extension| ["vmdk", "raw", "img"].iter().any(|disk| extension == *disk))
        {
            unpack(entry, to)?;
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk_formats::archive::Ustar;
    use std::fs;

    fn check(content: &[u8], expected: Result<&[u8], &str>) {
        let folder = tempfile::tempdir().unwrap();
        let (file, scratch) = (folder.path().join("file"), folder.path().join("scratch"));
        fs::create_dir(&scratch).unwrap();
        fs::write(&file, content).unwrap();
        // No case runs a tool.
        let tools = Sandbox::new(Path::new("/")).unwrap();
        let found = raw_disk(&file, &scratch, &tools).map(|path| fs::read(path).unwrap());
        let found = found.map_err(|error| error.to_string());
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert!(found == expected),
            (Err(found), Err(expected)) => assert!(found.ends_with(expected), "{found}"),
            _ => panic!("{found:?}"),
        }
        assert!(fs::read_dir(&scratch).unwrap().count() <= 1, "layers in between are left");
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(content).unwrap();
        out.finish().unwrap()
    }

    fn archive(name: &str, content: &[u8]) -> Vec<u8> {
        let mut archive = Ustar::new(Vec::new(), 0);
        archive.add(name, content.len() as u64, content).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn the_disk_is_found_below_all_layers() {
        let mut disk = vec![0; 300_000];
        disk[150_000] = 7;
        check(&disk, Ok(&disk));
        check(&gzip(&disk), Ok(&disk));
        check(&zstd::encode_all(&*disk, 1).unwrap(), Ok(&disk));
        check(&gzip(&archive("disk.raw", &disk)), Ok(&disk));
        check(b"", Ok(b""));
    }

    /// An archive of the kernel's with one file.
    fn initrd(name: &str, content: &[u8]) -> Vec<u8> {
        let header = newc::Builder::new(name).mode(0o644);
        let mut entry = header.write(Vec::new(), u32::try_from(content.len()).unwrap());
        entry.write_all(content).unwrap();
        newc::trailer(entry.finish().unwrap()).unwrap()
    }

    #[test]
    fn the_image_of_a_live_system_is_in_the_second_archive() {
        let folder = tempfile::tempdir().unwrap();
        let (file, to) = (folder.path().join("initrd"), folder.path().join("image"));
        let system = zstd::encode_all(&*initrd(LIVE_IMAGE, b"not this one"), 1).unwrap();
        for (second, expected) in [(LIVE_IMAGE, true), ("live/other", false)] {
            let padding = vec![0; 4 - system.len() % 4];
            fs::write(&file, [&*system, &padding, &initrd(second, b"image")].concat()).unwrap();
            assert_eq!(kind(&file).unwrap(), Kind::LiveInitrd);
            assert_eq!(extract_live(&file, &to).unwrap(), expected, "{second}");
        }
        assert_eq!(fs::read(&to).unwrap(), b"image");
        // The initrd of a build alone.
        fs::write(&file, &system).unwrap();
        extract_live(&file, &to).unwrap_err();
    }

    #[test]
    fn what_has_no_disk_is_an_error() {
        check(&archive("readme.txt", b"text"), Err("file is an archive without a disk"));
        let nested = (0..LAYERS).fold(b"disk".to_vec(), |content, _| gzip(&content));
        check(&nested, Err("file contains an archive in an archive"));
        check(&gzip(b"disk")[..15], Err("cannot read the image"));
    }
}
