//! The formats of finished images: what differs between them, as data.

use std::str::FromStr;

use disk_formats::vmdk::Adapter;
use serde::{Deserialize, Serialize};

/// A format of a finished image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Format {
    Raw,
    RawGz,
    RawZst,
    Qcow2,
    Vmdk,
    Vdi,
    Vhd,
    /// For VirtualBox.
    Ova,
    /// An OVA for VMware.
    Vmware,
    /// A Vagrant box for VirtualBox.
    Box,
    /// A Vagrant box for libvirt.
    BoxLibvirt,
    Ec2,
    Openstack,
    Gce,
    Azure,
    /// Hyper-V, machines of generation 2.
    Vhdx,
    /// The live system for network boot: kernel, initrd, and both as one program of UEFI.
    Pxe,
    /// The live system on a CD-ROM or a USB stick.
    Iso,
}

const ALL: [Format; 18] = [
    Format::Raw,
    Format::RawGz,
    Format::RawZst,
    Format::Qcow2,
    Format::Vmdk,
    Format::Vdi,
    Format::Vhd,
    Format::Ova,
    Format::Vmware,
    Format::Box,
    Format::BoxLibvirt,
    Format::Ec2,
    Format::Openstack,
    Format::Gce,
    Format::Azure,
    Format::Vhdx,
    Format::Pxe,
    Format::Iso,
];

/// What users may type for a format.
const ALIASES: [(&str, Format); 3] =
    [("vagrant", Format::Box), ("virtualbox", Format::Ova), ("hyperv", Format::Vhdx)];

/// How a raw disk becomes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Raw,
    Gzip,
    Zstd,
    Qcow2,
    Vmdk(Adapter),
    Vdi,
    FixedVhd,
    Vhdx,
    /// An OVA of VirtualBox.
    VirtualBoxOva,
    /// An OVA of VMware.
    VmwareOva,
    /// A Vagrant box with an OVF of VirtualBox.
    VirtualBoxBox,
    /// A Vagrant box with a qcow2 disk.
    LibvirtBox,
    /// Google's archive of a `disk.raw`.
    SparseTarGz,
    LiveKernel,
    /// The initrd of a build with the disk.
    LiveInitrd,
    /// Both as a unified kernel image.
    LiveUki,
    /// Both on a medium with boot loaders.
    LiveIso,
}

impl Encoding {
    /// Whether the disk inside is deflated block by block.
    #[must_use]
    pub fn is_deflated(self) -> bool {
        matches!(
            self,
            Self::Gzip
                | Self::Vmdk(_)
                | Self::VirtualBoxOva
                | Self::VmwareOva
                | Self::VirtualBoxBox
                | Self::SparseTarGz
        )
    }

    /// Firmware that the file boots with. The boot loader on a disk is UEFI's; a network boot loader starts a kernel itself.
    #[must_use]
    pub fn firmware(self) -> &'static [&'static str] {
        match self {
            Self::LiveKernel | Self::LiveInitrd => &["bios", "uefi"],
            Self::LiveIso => &["uefi", "bios"],
            _ => &["uefi"],
        }
    }
}

/// The disk inside of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpec {
    /// Folder below `image/oem` whose files are on the OEM partition.
    pub platform: Option<&'static str>,
    /// Size of the disk in GiB; by default the smallest that has all partitions but ROOT. Importers that create disks of
    /// the file's size leave ROOT the rest of this one.
    pub size: Option<u32>,
}

/// Machines on a hypervisor: files store only what is written.
const THIN: Option<u32> = Some(16);
/// Clouds, where the size of a file is the least that an operator pays for. A whole number of GiB, as Google demands.
const CLOUD: Option<u32> = Some(4);

/// The disk of a build, without a platform.
const PLAIN: DiskSpec = DiskSpec { platform: None, size: None };

const fn platform(name: &'static str, size: Option<u32>) -> DiskSpec {
    DiskSpec { platform: Some(name), size }
}

/// A file of a format: what follows `keelson-VERSION-CHANNEL` in its name, and its encoding.
pub type FileSpec = (&'static str, Encoding);

/// What differs between formats.
struct Row(&'static str, DiskSpec, &'static [FileSpec]);

impl Format {
    fn row(self) -> Row {
        match self {
            Self::Raw => Row("raw", PLAIN, &[(".raw", Encoding::Raw)]),
            Self::RawGz => Row("raw.gz", PLAIN, &[(".raw.gz", Encoding::Gzip)]),
            Self::RawZst => Row("raw.zst", PLAIN, &[(".raw.zst", Encoding::Zstd)]),
            Self::Qcow2 => Row("qcow2", PLAIN, &[(".qcow2", Encoding::Qcow2)]),
            Self::Vmdk => {
                Row("vmdk", DiskSpec { size: THIN, ..PLAIN }, &[(".vmdk", Encoding::Vmdk(Adapter::LsiLogic))])
            }
            Self::Vdi => Row("vdi", platform("virtualbox", THIN), &[("-virtualbox.vdi", Encoding::Vdi)]),
            Self::Vhd => Row("vhd", DiskSpec { size: CLOUD, ..PLAIN }, &[(".vhd", Encoding::FixedVhd)]),
            Self::Ova => {
                Row("ova", platform("virtualbox", THIN), &[("-virtualbox.ova", Encoding::VirtualBoxOva)])
            }
            Self::Vmware => Row("vmware", platform("vmware", THIN), &[("-vmware.ova", Encoding::VmwareOva)]),
            Self::Box => {
                Row("box", platform("vagrant", THIN), &[("-vagrant-virtualbox.box", Encoding::VirtualBoxBox)])
            }
            Self::BoxLibvirt => Row(
                "box-libvirt",
                platform("vagrant", THIN),
                &[("-vagrant-libvirt.box", Encoding::LibvirtBox)],
            ),
            Self::Ec2 => {
                Row("ec2", platform("ec2", CLOUD), &[("-ec2.vmdk", Encoding::Vmdk(Adapter::LsiLogic))])
            }
            Self::Openstack => {
                Row("openstack", platform("openstack", None), &[("-openstack.qcow2", Encoding::Qcow2)])
            }
            Self::Gce => Row("gce", platform("gce", CLOUD), &[("-gce.tar.gz", Encoding::SparseTarGz)]),
            Self::Azure => Row("azure", platform("azure", CLOUD), &[("-azure.vhd", Encoding::FixedVhd)]),
            Self::Vhdx => Row("vhdx", platform("hyperv", THIN), &[("-hyperv.vhdx", Encoding::Vhdx)]),
            Self::Pxe => Row(
                "pxe",
                PLAIN,
                &[
                    ("-pxe-initrd.img", Encoding::LiveInitrd),
                    ("-pxe.vmlinuz", Encoding::LiveKernel),
                    ("-pxe.efi", Encoding::LiveUki),
                ],
            ),
            Self::Iso => Row("iso", PLAIN, &[(".iso", Encoding::LiveIso)]),
        }
    }

    /// Its name on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub fn disk(self) -> DiskSpec {
        self.row().1
    }

    #[must_use]
    pub fn files(self) -> &'static [FileSpec] {
        self.row().2
    }

    fn names() -> String {
        ALL.map(Self::name).join(", ")
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let alias = ALIASES.into_iter().find(|(alias, _)| *alias == name).map(|(_, format)| format);
        let found = alias.or_else(|| ALL.into_iter().find(|format| format.name() == name));
        found.ok_or_else(|| format!("unknown format `{name}` (expected {})", Self::names()))
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Format> for String {
    fn from(format: Format) -> Self {
        format.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn names_and_files_are_distinct() {
        let distinct = |names: Vec<&str>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
        assert!(distinct(ALL.map(Format::name).to_vec()));
        assert!(distinct(ALL.iter().flat_map(|format| format.files()).map(|(suffix, _)| *suffix).collect()));
        for format in ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert!(ALIASES.iter().all(|(alias, _)| *alias != format.name()));
            let text = serde_json::to_string(&format).unwrap();
            assert_eq!(serde_json::from_str::<Format>(&text).unwrap(), format);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_formats() {
        let error = |name: &str| name.parse::<Format>().unwrap_err();
        assert!(
            error("qcow").starts_with("unknown format `qcow` (expected raw, raw.gz, "),
            "{}",
            error("qcow")
        );
    }

    #[test]
    fn every_platform_has_its_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../image/oem");
        for platform in ALL.into_iter().filter_map(|format| format.disk().platform) {
            assert!(folder.join(platform).join("oem-release").is_file(), "{platform}");
        }
    }
}
