//! Options by which a machine boots its [`BootSource`].

use crate::cluster::{BootSource, MediumDrive, NetworkFirmware};
use crate::qemu::option_value::value;

const NO_IPV6: &[&str] = &["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"];
const NO_PXE: &[&str] = &[
    "-fw_cfg",
    "name=opt/org.tianocore/IPv4PXESupport,string=n",
    "-fw_cfg",
    "name=opt/org.tianocore/IPv6PXESupport,string=n",
];

/// Whether the firmware is a BIOS.
pub fn is_bios(source: &BootSource) -> bool {
    match source {
        BootSource::Network(firmware) => *firmware == NetworkFirmware::Bios,
        BootSource::Medium(medium) => medium.bios,
        BootSource::Disk | BootSource::Kernel(_) => false,
    }
}

/// The medium precedes the disk in the boot order.
pub fn medium(source: &BootSource) -> Vec<String> {
    let BootSource::Medium(medium) = source else { return Vec::new() };
    let file = value(&medium.file);
    let drive = format!("if=none,id=medium,format=raw,readonly=on,file={file}");
    let device = |model: &str| format!("{model},drive=medium,bootindex=0");
    match medium.drive {
        MediumDrive::CdRom => vec!["-drive".to_owned(), drive, "-device".to_owned(), device("ide-cd")],
        MediumDrive::Usb => vec![
            "-drive".to_owned(),
            drive,
            "-device".to_owned(),
            "qemu-xhci,id=medium-usb".to_owned(),
            "-device".to_owned(),
            device("usb-storage,bus=medium-usb.0"),
        ],
    }
}

/// Options of the LAN's adapter, which precedes the disk in a network boot. Its ROM has iPXE; UEFI has a driver of its own.
pub fn adapter(source: &BootSource) -> &'static str {
    match source {
        BootSource::Disk | BootSource::Kernel(_) | BootSource::Medium(_) => "romfile=",
        BootSource::Network(NetworkFirmware::Bios) => "bootindex=0",
        BootSource::Network(NetworkFirmware::Pxe | NetworkFirmware::Http) => "bootindex=0,romfile=",
    }
}

/// OVMF's switches of the protocols that are not tried.
pub fn protocols(source: &BootSource) -> &'static [&'static str] {
    match source {
        BootSource::Disk
        | BootSource::Kernel(_)
        | BootSource::Medium(_)
        | BootSource::Network(NetworkFirmware::Bios) => &[],
        BootSource::Network(NetworkFirmware::Pxe) => NO_IPV6,
        BootSource::Network(NetworkFirmware::Http) => NO_PXE,
    }
}
