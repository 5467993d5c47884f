//! Images for other platforms, on the devices that these have.

use machines::cluster::BackendKind::Qemu;
use machines::cluster::Hardware;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

const USER_DATA: &str = "#cloud-config\nwrite_files: [{path: /etc/from-the-drive, content: applied}]\n";

pub const VIRTUALBOX: Scenario = Scenario {
    name: "platform-virtualbox",
    about: "the OVA's disk boots on VirtualBox's devices, grows, is provisioned by a config drive, and reboots",
    format: Some("ova"),
    hardware: Hardware::VirtualBox,
    run: |context| {
        let found = Found { id: "virtualbox", hypervisor: "oracle", disk: "ahci", network: "e1000" };
        boots(context, &found)
    },
    ..PLATFORM
};

pub const VMWARE: Scenario = Scenario {
    name: "platform-vmware",
    about: "the OVA's disk boots on VMware's devices, grows, is provisioned by a config drive, and reboots",
    format: Some("vmware"),
    hardware: Hardware::Vmware,
    long_on: &[Qemu],
    run: |context| {
        // Emulated, the machine reports QEMU's hypervisor, which systemd trusts more than VMware's names.
        let found = Found { id: "vmware", hypervisor: "qemu", disk: "vmw_pvscsi", network: "vmxnet3" };
        boots(context, &found)
    },
    ..PLATFORM
};

const PLATFORM: Scenario = Scenario { on: &[Qemu], user_data: Some(USER_DATA), ..DEFAULTS };

/// What a machine finds on a platform.
struct Found {
    /// Of the OEM partition.
    id: &'static str,
    /// As `systemd-detect-virt` prints it.
    hypervisor: &'static str,
    /// Driver of the system disk's controller.
    disk: &'static str,
    /// Driver of all network adapters.
    network: &'static str,
}

/// Size of the file system for data on a disk of 16 GiB, at least.
const ROOT_GIB: u64 = 12;

fn boots(context: &Context<'_>, found: &Found) -> Result<(), Failure> {
    let machine = context.machine(1);
    let ready = machine.start()?;
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    let oem = machine.read("/usr/share/oem/oem-release")?;
    expect(oem.lines().any(|line| line == format!("ID={}", found.id)), found.id, &oem)?;
    let hypervisor = machine.succeed("systemd-detect-virt --vm")?;
    expect(hypervisor.trim() == found.hypervisor, found.hypervisor, &hypervisor)?;
    uses(&machine, DISK_DRIVERS, found.disk)?;
    uses(&machine, NETWORK_DRIVERS, found.network)?;
    let size = machine.succeed("df --output=size --block-size=1G / | tail -n1")?;
    let enough = size.trim().parse::<u64>().is_ok_and(|size| size >= ROOT_GIB);
    expect(enough, &format!("at least {ROOT_GIB} GiB for data"), &size)?;
    let provisioned = "grep -x applied /etc/from-the-drive";
    machine.succeed(provisioned)?;
    let ready = machine.reboot()?;
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit after a reboot", &failed)?;
    machine.succeed(provisioned).map(drop).map_err(Failure::from)
}

/// Prints the drivers on the path of the disk with `/` in the device tree, a line each.
const DISK_DRIVERS: &str = "device=$(readlink -f /sys/dev/block/$(mountpoint -d /)); \
    while [ \"$device\" != /sys/devices ]; do \
      [ -e \"$device/driver\" ] && basename \"$(readlink -f \"$device/driver\")\"; device=$(dirname \"$device\"); \
    done; true";
/// Prints the drivers of the network adapters.
const NETWORK_DRIVERS: &str = "for driver in /sys/class/net/*/device/driver; do basename \"$(readlink -f \"$driver\")\"; done | sort -u";

fn uses(machine: &Machine<'_>, drivers: &str, expected: &str) -> Result<(), Failure> {
    let printed = machine.succeed(drivers)?;
    let virtual_device = printed.lines().find(|driver| driver.starts_with("virtio"));
    expect(
        virtual_device.is_none() && printed.lines().any(|driver| driver == expected),
        &format!("the driver {expected}, and none of virtio"),
        &printed,
    )
}
