//! Encodes a raw disk in one of the formats.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use disk_formats::archive::{Ustar, write_sparse};
use disk_formats::deflate::Gzip;
use disk_formats::ovf::{self, DISK_FILE, Machine};
use disk_formats::vdi::{self, Uuids};
use disk_formats::vhd;
use disk_formats::vhdx;
use disk_formats::vmdk::{self, Adapter, ContentId, Descriptor};
use flate2::{Compression, GzBuilder};
use sandbox::Sandbox;
use serde_json::json;

use crate::disk::{uuid, uuid_bytes};
use crate::fetch::{hex, sha256_of};
use crate::formats::Encoding;
use crate::iso;
use crate::live;
use crate::source::{EncodeError, Output, Source};
use crate::sparse::copy_sparse;
use crate::tool::run;
use crate::tree::PathContext;

/// Processors and MiB of memory of an imported machine. Its owner can change them.
const PROCESSORS: u16 = 2;
const MEMORY: u32 = 2048;
/// Level of zstd: twice as fast as 9, for files that are larger by a fifteenth.
const ZSTD_LEVEL: i32 = 5;
/// The boxes' Vagrantfiles, below the checkout.
const VAGRANT: &str = "image/vagrant";
/// Name of the disk that vagrant-libvirt expects.
const LIBVIRT_DISK: &str = "box.img";
/// Go's name of the processor architecture, which Vagrant uses.
const ARCHITECTURE: &str = "amd64";
const GIB: u64 = 1 << 30;
/// Name of the only member in Google's archives.
const GCE_DISK: &str = "disk.raw";

/// Describes a machine to a hypervisor.
type Describe = fn(&Machine<'_>) -> String;

impl Source<'_> {
    /// Writes the disk to `to`, whose final name is `file_name`.
    pub fn encode(&self, encoding: Encoding, file_name: &str, to: &Path) -> Result<(), EncodeError> {
        match encoding {
            Encoding::Raw => copy_sparse(self.raw, to).at(to)?,
            Encoding::Gzip => self.stream(to, |disk, out| {
                let mut out = Gzip::new(self.deflater, out)?;
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
                let mut out = Gzip::new(self.deflater, out)?;
                write_sparse(disk, GCE_DISK, self.built.release.epoch, &mut out)?;
                out.finish()?.flush()
            })?,
            Encoding::Vdi => self.stream(to, |disk, out| {
                let [image, modification] =
                    ["vdi", "vdi modification"].map(|kind| uuid_bytes(kind, &self.digest));
                vdi::write(disk, Uuids { image, modification }, out)
            })?,
            Encoding::Vhdx => self.stream(to, |disk, out| {
                let [id, file_write, data_write] =
                    ["vhdx", "vhdx file write", "vhdx data write"].map(|kind| uuid_bytes(kind, &self.digest));
                vhdx::write(disk, vhdx::Uuids { disk: id, file_write, data_write }, out)
            })?,
            Encoding::Qcow2 => self.qcow2(to)?,
            Encoding::Vmdk(adapter) => self.vmdk(adapter, file_name, to)?,
            Encoding::FixedVhd => self.fixed_vhd(to).at(to)?,
            Encoding::VirtualBoxOva => self.ova(Adapter::Ide, ovf::virtualbox, to)?,
            Encoding::VmwareOva => self.ova(Adapter::LsiLogic, ovf::vmware, to)?,
            Encoding::VirtualBoxBox => self.virtualbox_box(to)?,
            Encoding::LibvirtBox => self.libvirt_box(to)?,
            Encoding::LiveKernel => self.copy(&self.built.kernel, to).at(to)?,
            Encoding::LiveInitrd => self.copy(&live::initrd(self)?, to).at(to)?,
            Encoding::LiveUki => live::boot_image(self, to)?,
            Encoding::LiveIso => iso::write(self, to)?,
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

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut out = self.create(to)?;
        io::copy(&mut File::open(from)?, &mut out)?;
        out.flush()
    }

    /// Uses one thread: the output must not depend on scheduling.
    fn qcow2(&self, to: &Path) -> Result<(), EncodeError> {
        let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let tools = Sandbox::new(&self.built.tools)?.share(parent(self.raw)).share(parent(to));
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
        vmdk::write(&disk, &descriptor, self.deflater, out)
            .map_err(|source| EncodeError::Vmdk { path: to.into(), source })
    }

    fn fixed_vhd(&self, to: &Path) -> io::Result<()> {
        copy_sparse(self.raw, to)?;
        let mut out = File::options().write(true).open(to)?;
        let capacity = out.seek(SeekFrom::End(0))?;
        out.write_all(&vhd::footer(capacity, self.built.release.epoch, uuid_bytes("vhd", &self.digest)))
    }

    /// The members' order is that of the standard: description, manifest, disk.
    fn ova(&self, adapter: Adapter, describe: Describe, to: &Path) -> Result<(), EncodeError> {
        let disk = self.scratch.join(DISK_FILE);
        let description = self.described_vmdk(adapter, describe, &disk)?;
        let name = self.name;
        let manifest = format!(
            "SHA256({name}.ovf)= {}\nSHA256({DISK_FILE})= {}\n",
            hex(&<sha2::Sha256 as sha2::Digest>::digest(&description)),
            sha256_of(&disk).at(&disk)?
        );
        let texts = [(&*format!("{name}.ovf"), &*description), (&format!("{name}.mf"), &manifest)];
        self.create(to).and_then(|out| self.archive(out, &texts, (DISK_FILE, &disk))?.flush()).at(to)?;
        Ok(fs::remove_file(&disk).at(&disk)?)
    }

    fn virtualbox_box(&self, to: &Path) -> Result<(), EncodeError> {
        let disk = self.scratch.join(DISK_FILE);
        let description = self.described_vmdk(Adapter::Ide, ovf::virtualbox, &disk)?;
        let metadata = json!({ "provider": "virtualbox", "architecture": ARCHITECTURE });
        let ovf = ("box.ovf", &*description);
        self.vagrant_box("virtualbox", &metadata, Some(ovf), (DISK_FILE, &disk), to)
    }

    fn libvirt_box(&self, to: &Path) -> Result<(), EncodeError> {
        let disk = self.scratch.join(LIBVIRT_DISK);
        self.qcow2(&disk)?;
        let size = fs::metadata(self.raw).at(self.raw)?.len().div_ceil(GIB);
        let metadata = json!({
            "provider": "libvirt", "architecture": ARCHITECTURE, "format": "qcow2", "virtual_size": size,
        });
        self.vagrant_box("libvirt", &metadata, None, (LIBVIRT_DISK, &disk), to)
    }

    /// Archives a box: metadata, Vagrantfile, `description`, and the disk, which is removed. Vagrant unpacks gzip on all
    /// hosts; the disk is compressed already, and is stored.
    fn vagrant_box(
        &self,
        provider: &str,
        metadata: &serde_json::Value,
        description: Option<(&str, &str)>,
        disk: (&str, &Path),
        to: &Path,
    ) -> Result<(), EncodeError> {
        let folder = self.built.checkout.join(VAGRANT);
        let mut vagrantfile = String::new();
        for file in ["guest.rb", &format!("{provider}.rb")] {
            let path = folder.join(file);
            vagrantfile.push_str(&fs::read_to_string(&path).at(&path)?);
            vagrantfile.push('\n');
        }
        let metadata = format!("{metadata:#}\n");
        let mut texts = vec![("metadata.json", &*metadata), ("Vagrantfile", vagrantfile.trim_end())];
        texts.extend(description);
        let write = || -> io::Result<()> {
            let out = GzBuilder::new().write(self.create(to)?, Compression::none());
            self.archive(out, &texts, disk)?.finish()?.flush()
        };
        write().at(to)?;
        Ok(fs::remove_file(disk.1).at(disk.1)?)
    }

    /// Writes the disk to `disk`, and returns the description of a machine with it.
    fn described_vmdk(
        &self,
        adapter: Adapter,
        describe: Describe,
        disk: &Path,
    ) -> Result<String, EncodeError> {
        self.vmdk(adapter, DISK_FILE, disk)?;
        Ok(describe(&Machine {
            name: self.name,
            product: &self.built.release.name,
            version: &self.built.release.version,
            processors: PROCESSORS,
            memory: MEMORY,
            uuid: &uuid("machine", &self.digest),
            disk: ovf::Disk {
                bytes: fs::metadata(disk).at(disk)?.len(),
                capacity: fs::metadata(self.raw).at(self.raw)?.len(),
                uuid: &self.disk_uuid(),
            },
        }))
    }

    /// Writes an archive of texts and a file, each with its name.
    fn archive<W: Write>(&self, out: W, texts: &[(&str, &str)], disk: (&str, &Path)) -> io::Result<W> {
        let mut archive = Ustar::new(out, self.built.release.epoch);
        for (name, text) in texts {
            archive.add(name, text.len() as u64, text.as_bytes())?;
        }
        let (name, disk) = (disk.0, File::open(disk.1)?);
        archive.add(name, disk.metadata()?.len(), disk)?;
        archive.finish()
    }

    fn disk_uuid(&self) -> String {
        uuid("vmdk", &self.digest)
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
