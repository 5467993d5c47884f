//! Encodes a raw disk in one of the formats.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use disk_formats::archive::{Ustar, write_sparse};
use disk_formats::ovf::{self, DISK_FILE, Machine};
use disk_formats::vdi::{self, Uuids};
use disk_formats::vhd;
use disk_formats::vmdk::{self, Adapter, ContentId, Descriptor, VmdkError};
use flate2::{Compression, GzBuilder};
use sandbox::{Sandbox, SandboxError};

use crate::disk::{uuid, uuid_bytes};
use crate::fetch::{hex, sha256_of};
use crate::formats::Encoding;
use crate::release::Release;
use crate::sparse::copy_sparse;
use crate::tool::{ToolError, run};
use crate::tree::{PathContext, TreeError};

/// Processors and MiB of memory of an imported machine. Its owner can change them.
const PROCESSORS: u16 = 2;
const MEMORY: u32 = 2048;
/// Level of zstd: its file has 186 MiB where gzip's has 224.
const ZSTD_LEVEL: i32 = 9;
/// Level of gzip: twice as fast as the default, for files that are larger by a fortieth.
const GZIP_LEVEL: u32 = 4;
/// Name of the only member in Google's archives.
const GCE_DISK: &str = "disk.raw";

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("cannot write the image files")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot write {path}")]
    Vmdk { path: PathBuf, source: VmdkError },
}

/// A raw disk and what its files say of it.
#[derive(Debug)]
pub struct Source<'a> {
    pub raw: &'a Path,
    /// [`digest`](crate::sparse::digest) of the raw disk: identifiers are derived from it.
    pub digest: String,
    /// Hex SHA-256 of the raw disk, if it is known.
    pub sha256: Option<&'a str>,
    pub release: &'a Release,
    /// `keelson-VERSION-CHANNEL`.
    pub name: &'a str,
    /// The tools tree.
    pub tools: &'a Path,
    /// For temporary files.
    pub scratch: &'a Path,
    /// Ends the encoding of a format when it is set.
    pub cancel: &'a AtomicBool,
}

/// A file that cannot be written any more once `cancel` is set.
struct Output<'a> {
    file: File,
    cancel: &'a AtomicBool,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            // Writers repeat a write that failed with `Interrupted`.
            return Err(io::Error::other("interrupted"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Source<'_> {
    /// Writes the disk to `to`, whose final name is `file_name`.
    pub fn encode(&self, encoding: Encoding, file_name: &str, to: &Path) -> Result<(), EncodeError> {
        match encoding {
            Encoding::Raw => copy_sparse(self.raw, to).at(to)?,
            Encoding::Gzip => self.stream(to, |disk, out| {
                // Without a time and a name.
                let mut out = GzBuilder::new().write(out, Compression::new(GZIP_LEVEL));
                io::copy(&mut &*disk, &mut out)?;
                out.finish()?.flush()
            })?,
            Encoding::Zstd => self.stream(to, |disk, out| {
                let mut out = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                out.include_checksum(true)?;
                io::copy(&mut &*disk, &mut out)?;
                out.finish()?.flush()
            })?,
            Encoding::SparseTarGz => self.stream(to, |disk, out| {
                let mut out = GzBuilder::new().write(out, Compression::new(GZIP_LEVEL));
                write_sparse(disk, GCE_DISK, self.release.epoch, &mut out)?;
                out.finish()?.flush()
            })?,
            Encoding::Vdi => self.stream(to, |disk, out| {
                let [image, modification] =
                    ["vdi", "vdi modification"].map(|kind| uuid_bytes(kind, &self.digest));
                vdi::write(disk, Uuids { image, modification }, out)
            })?,
            Encoding::Qcow2 => self.qcow2(to)?,
            Encoding::Vmdk(adapter) => self.vmdk(adapter, file_name, to)?,
            Encoding::FixedVhd => self.fixed_vhd(to).at(to)?,
            Encoding::VirtualBoxOva => self.ova(Adapter::Ide, ovf::virtualbox, to)?,
            Encoding::VmwareOva => self.ova(Adapter::LsiLogic, ovf::vmware, to)?,
        }
        Ok(())
    }

    /// Opens both files for `write`.
    fn stream(
        &self,
        to: &Path,
        write: impl FnOnce(&File, &mut BufWriter<Output<'_>>) -> io::Result<()>,
    ) -> Result<(), EncodeError> {
        let disk = File::open(self.raw).at(self.raw)?;
        let mut out = self.create(to).at(to)?;
        Ok(write(&disk, &mut out).at(to)?)
    }

    fn create(&self, to: &Path) -> io::Result<BufWriter<Output<'_>>> {
        Ok(BufWriter::new(Output { file: File::create(to)?, cancel: self.cancel }))
    }

    /// Uses one thread: the output must not depend on scheduling.
    fn qcow2(&self, to: &Path) -> Result<(), EncodeError> {
        let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let tools = Sandbox::new(self.tools)?.share(parent(self.raw)).share(parent(to));
        run(tools
            .command("qemu-img")?
            .args(["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"])
            .arg(self.raw)
            .arg(to))?;
        Ok(())
    }

    fn vmdk(&self, adapter: Adapter, file_name: &str, to: &Path) -> Result<(), EncodeError> {
        let [a, b, c, d, ..] = uuid_bytes("vmdk content", &self.digest);
        let descriptor = Descriptor {
            file_name,
            content: ContentId::new(u32::from_be_bytes([a, b, c, d])),
            uuid: &self.disk_uuid(),
            adapter,
        };
        let disk = File::open(self.raw).at(self.raw)?;
        let out = self.create(to).at(to)?;
        vmdk::write(&disk, &descriptor, out).map_err(|source| EncodeError::Vmdk { path: to.into(), source })
    }

    fn fixed_vhd(&self, to: &Path) -> io::Result<()> {
        copy_sparse(self.raw, to)?;
        let mut out = File::options().write(true).open(to)?;
        let capacity = out.seek(SeekFrom::End(0))?;
        out.write_all(&vhd::footer(capacity, self.release.epoch, uuid_bytes("vhd", &self.digest)))
    }

    /// The members' order is that of the standard: description, manifest, disk.
    fn ova(
        &self,
        adapter: Adapter,
        describe: fn(&Machine<'_>) -> String,
        to: &Path,
    ) -> Result<(), EncodeError> {
        let disk = self.scratch.join(DISK_FILE);
        self.vmdk(adapter, DISK_FILE, &disk)?;
        let bytes = fs::metadata(&disk).at(&disk)?.len();
        let description = describe(&Machine {
            name: self.name,
            product: &self.release.name,
            version: &self.release.version,
            processors: PROCESSORS,
            memory: MEMORY,
            uuid: &uuid("machine", &self.digest),
            disk: ovf::Disk {
                bytes,
                capacity: fs::metadata(self.raw).at(self.raw)?.len(),
                uuid: &self.disk_uuid(),
            },
        });
        let name = self.name;
        let manifest = format!(
            "SHA256({name}.ovf)= {}\nSHA256({DISK_FILE})= {}\n",
            hex(&<sha2::Sha256 as sha2::Digest>::digest(&description)),
            sha256_of(&disk).at(&disk)?
        );
        let write = || -> io::Result<()> {
            let mut archive = Ustar::new(self.create(to)?, self.release.epoch);
            for (extension, text) in [("ovf", &description), ("mf", &manifest)] {
                archive.add(&format!("{name}.{extension}"), text.len() as u64, text.as_bytes())?;
            }
            archive.add(DISK_FILE, bytes, File::open(&disk)?)?;
            archive.finish()?.flush()
        };
        write().at(to)?;
        Ok(fs::remove_file(&disk).at(&disk)?)
    }

    fn disk_uuid(&self) -> String {
        uuid("vmdk", &self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A disk with data at both ends.
    fn disk(folder: &Path) -> PathBuf {
        let raw = folder.join("disk.raw");
        let file = File::create(&raw).unwrap();
        for at in [0, (4 << 20) - 5] {
            std::os::unix::fs::FileExt::write_all_at(&file, b"data\n", at).unwrap();
        }
        raw
    }

    fn encode(encoding: Encoding, folder: &Path, to: &str) -> PathBuf {
        encode_until(&AtomicBool::new(false), encoding, folder, to).unwrap()
    }

    fn encode_until(
        cancel: &AtomicBool,
        encoding: Encoding,
        folder: &Path,
        to: &str,
    ) -> Result<PathBuf, EncodeError> {
        let raw = disk(folder);
        let release = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../os/release.toml");
        let release = Release::read(&release).unwrap();
        let source = Source {
            raw: &raw,
            digest: crate::sparse::digest(&raw).unwrap(),
            sha256: None,
            release: &release,
            name: "keelson-1.0.0-alpha",
            tools: Path::new("/nonexistent"),
            scratch: folder,
            cancel,
        };
        let to = folder.join(to);
        source.encode(encoding, "file", &to)?;
        Ok(to)
    }

    #[test]
    fn an_interrupt_ends_an_encoding() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = Encoding::Vmdk(Adapter::Ide);
        let ova = Encoding::VirtualBoxOva;
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::SparseTarGz, Encoding::Vdi, adapter, ova] {
            let cancel = AtomicBool::new(true);
            let error = encode_until(&cancel, encoding, folder.path(), "disk").unwrap_err();
            assert!(base_text(&error).contains("interrupted"), "{encoding:?}: {error:?}");
        }
    }

    fn base_text(error: &dyn std::error::Error) -> String {
        error.source().map_or_else(|| error.to_string(), base_text)
    }

    #[test]
    fn an_ova_has_its_members_in_order_and_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        let path = encode(Encoding::VirtualBoxOva, folder.path(), "a.ova");
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let mut members = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            members.push((entry.path().unwrap().to_string_lossy().into_owned(), content));
        }
        let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["keelson-1.0.0-alpha.ovf", "keelson-1.0.0-alpha.mf", "disk.vmdk"]);
        let digest = |number: usize| hex(&<sha2::Sha256 as sha2::Digest>::digest(&members[number].1));
        let manifest =
            format!("SHA256(keelson-1.0.0-alpha.ovf)= {}\nSHA256(disk.vmdk)= {}\n", digest(0), digest(2));
        assert_eq!(String::from_utf8_lossy(&members[1].1), manifest);
        let description = String::from_utf8_lossy(&members[0].1).into_owned();
        assert!(description.contains(&format!("ovf:size=\"{}\"", members[2].1.len())), "{description}");
        assert!(!folder.path().join(DISK_FILE).exists());
    }

    #[test]
    fn the_same_disk_has_the_same_bytes_in_every_format() {
        let encodings = [
            Encoding::Raw,
            Encoding::Gzip,
            Encoding::Zstd,
            Encoding::Vmdk(Adapter::Ide),
            Encoding::Vdi,
            Encoding::FixedVhd,
            Encoding::VirtualBoxOva,
            Encoding::VmwareOva,
            Encoding::SparseTarGz,
        ];
        for encoding in encodings {
            let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let read = |folder: &Path, name| fs::read(encode(encoding, folder, name)).unwrap();
            assert!(read(one.path(), "a") == read(two.path(), "another"), "{encoding:?}");
        }
    }
}
