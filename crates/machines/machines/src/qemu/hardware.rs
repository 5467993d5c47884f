//! Devices of a QEMU machine: virtio's, or those that another hypervisor gives to the images made for it.
//!
//! What serves Keelson itself (console, report of readiness, credentials, shared folders) is the same on all.

use crate::cluster::Hardware;

/// Arguments, and device models with their options.
#[derive(Debug, PartialEq, Eq)]
pub struct Devices {
    /// Value of `-machine`.
    pub machine: &'static str,
    /// Controllers, and names that the firmware reports.
    pub arguments: &'static [&'static str],
    /// Other devices. They follow the disks: the order gives the devices their addresses, and interfaces their names.
    pub others: &'static [&'static str],
    /// Model of the system disk.
    pub disk: &'static str,
    /// Model of the config drive.
    pub config: &'static str,
    /// Options of the config drive's `-drive`.
    pub config_drive: &'static str,
    /// Model of the network adapters.
    pub network: &'static str,
    /// Kernel arguments.
    pub kernel_arguments: Option<&'static str>,
}

/// Block node of the system disk, for a second device.
pub const DISK_NODE: &str = "system";

const READ_ONLY: &str = "readonly=on";

const VIRTIO: Devices = Devices {
    machine: "q35",
    arguments: &[],
    others: &["-device", "virtio-rng-pci"],
    disk: "virtio-blk-pci",
    config: "virtio-blk-pci",
    config_drive: READ_ONLY,
    network: "virtio-net-pci",
    kernel_arguments: None,
};

/// The machine of the OVF: VirtualBox's default chipset PIIX3, AHCI; the adapter of its items.
const VIRTUALBOX: Devices = Devices {
    machine: "pc",
    arguments: &[
        "-smbios",
        "type=0,vendor=innotek GmbH,version=VirtualBox",
        "-smbios",
        "type=1,manufacturer=innotek GmbH,product=VirtualBox",
        "-device",
        "ich9-ahci,id=ahci",
    ],
    others: &[],
    disk: "ide-hd,bus=ahci.0",
    config: "ide-hd,bus=ahci.1",
    // QEMU has no read-only disks on this bus. Without locks the host can replace the file while the machine runs.
    config_drive: "file.locking=off",
    network: "e1000",
    kernel_arguments: None,
};

/// The firmware has no driver for the controller: it reads the same disk by USB, whose driver the kernel does not load.
const VMWARE: Devices = Devices {
    machine: "pc",
    arguments: &[
        "-smbios",
        "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform",
        "-device",
        "pvscsi,id=pvscsi",
        "-device",
        "qemu-xhci,id=usb",
    ],
    others: &["-device", "usb-storage,bus=usb.0,drive=system,share-rw=on,bootindex=2"],
    disk: "scsi-hd,bus=pvscsi.0,share-rw=on",
    config: "scsi-hd,bus=pvscsi.0",
    config_drive: READ_ONLY,
    network: "vmxnet3",
    kernel_arguments: Some("module_blacklist=usb_storage,uas"),
};

const EC2: Devices = Devices {
    arguments: &[
        "-smbios",
        "type=0,vendor=Amazon EC2,version=1.0",
        "-smbios",
        "type=1,manufacturer=Amazon EC2,product=m5.large",
    ],
    disk: "nvme,serial=vol0keelson",
    ..VIRTIO
};

const GCE: Devices = Devices {
    arguments: &[
        "-smbios",
        "type=0,vendor=Google,version=Google",
        "-smbios",
        "type=1,manufacturer=Google,product=Google Compute Engine",
        "-device",
        "virtio-scsi-pci,id=scsi",
    ],
    disk: "scsi-hd,bus=scsi.0",
    ..VIRTIO
};

impl Devices {
    #[must_use]
    pub fn of(hardware: Hardware) -> &'static Self {
        match hardware {
            Hardware::Virtio => &VIRTIO,
            Hardware::VirtualBox => &VIRTUALBOX,
            Hardware::Vmware => &VMWARE,
            Hardware::Ec2 => &EC2,
            Hardware::Gce => &GCE,
        }
    }
}
