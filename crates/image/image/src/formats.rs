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
}

const ALL: [Format; 15] = [
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
];

/// Formats that users look for, and that are not built yet.
const PLANNED: [&str; 3] = ["iso", "pxe", "vhdx"];
/// What users may type for a format.
const ALIASES: [(&str, Format); 2] = [("vagrant", Format::Box), ("virtualbox", Format::Ova)];

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

/// What differs between formats.
struct Row(&'static str, &'static str, DiskSpec, Encoding);

impl Format {
    fn row(self) -> Row {
        match self {
            Self::Raw => Row("raw", ".raw", PLAIN, Encoding::Raw),
            Self::RawGz => Row("raw.gz", ".raw.gz", PLAIN, Encoding::Gzip),
            Self::RawZst => Row("raw.zst", ".raw.zst", PLAIN, Encoding::Zstd),
            Self::Qcow2 => Row("qcow2", ".qcow2", PLAIN, Encoding::Qcow2),
            Self::Vmdk => {
                Row("vmdk", ".vmdk", DiskSpec { size: THIN, ..PLAIN }, Encoding::Vmdk(Adapter::LsiLogic))
            }
            Self::Vdi => Row("vdi", "-virtualbox.vdi", platform("virtualbox", THIN), Encoding::Vdi),
            Self::Vhd => Row("vhd", ".vhd", DiskSpec { size: CLOUD, ..PLAIN }, Encoding::FixedVhd),
            Self::Ova => Row("ova", "-virtualbox.ova", platform("virtualbox", THIN), Encoding::VirtualBoxOva),
            Self::Vmware => Row("vmware", "-vmware.ova", platform("vmware", THIN), Encoding::VmwareOva),
            Self::Box => {
                Row("box", "-vagrant-virtualbox.box", platform("vagrant", THIN), Encoding::VirtualBoxBox)
            }
            Self::BoxLibvirt => {
                Row("box-libvirt", "-vagrant-libvirt.box", platform("vagrant", THIN), Encoding::LibvirtBox)
            }
            Self::Ec2 => Row("ec2", "-ec2.vmdk", platform("ec2", CLOUD), Encoding::Vmdk(Adapter::LsiLogic)),
            Self::Openstack => {
                Row("openstack", "-openstack.qcow2", platform("openstack", None), Encoding::Qcow2)
            }
            Self::Gce => Row("gce", "-gce.tar.gz", platform("gce", CLOUD), Encoding::SparseTarGz),
            Self::Azure => Row("azure", "-azure.vhd", platform("azure", CLOUD), Encoding::FixedVhd),
        }
    }

    /// Its name on the command line and in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What follows `keelson-VERSION-CHANNEL` in the file's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        self.row().1
    }

    #[must_use]
    pub fn disk(self) -> DiskSpec {
        self.row().2
    }

    #[must_use]
    pub fn encoding(self) -> Encoding {
        self.row().3
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
        found.ok_or_else(|| match PLANNED.contains(&name) {
            true => format!("format {name} is not supported yet (expected {})", Self::names()),
            false => format!("unknown format `{name}` (expected {})", Self::names()),
        })
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
        for of in [Format::name, Format::suffix] {
            assert_eq!(ALL.map(of).into_iter().collect::<BTreeSet<_>>().len(), ALL.len());
        }
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
        assert!(
            error("iso").starts_with("format iso is not supported yet (expected raw, "),
            "{}",
            error("iso")
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
