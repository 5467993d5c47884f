//! Images for other platforms, on the devices that these have.

use std::fs;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::Hardware;
use machines::machine::Machine;
use machines::ready::Ready;

use super::kv::SOON;
use crate::failure::{Failure, expect};
use crate::own_image::imported;
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
        boots(context, &found)?;
        // QEMU answers at VMware's I/O port, but has no guestinfo.
        let asked = context.machine(1).fail("sudo coreos-cloudinit -from-vmware-guestinfo -validate 2>&1")?;
        expect(asked.contains(NO_GUESTINFO), NO_GUESTINFO, &asked)
    },
    ..PLATFORM
};

pub const DISKS: Scenario = Scenario {
    name: "platform-disks",
    about: "disks in all formats that need no platform's devices boot, are provisioned by a config drive, and have their OEM files",
    nodes: PLAIN_FORMATS.len(),
    long_on: &[Qemu],
    run: |context| each_boots(context, &PLAIN_FORMATS),
    ..PLATFORM
};

pub const VIRTUALBOX_DISKS: Scenario = Scenario {
    name: "platform-vdi-and-box",
    about: "the VDI and the disk of Vagrant's box boot on VirtualBox's devices, and have their OEM files",
    nodes: VIRTUALBOX_FORMATS.len(),
    hardware: Hardware::VirtualBox,
    long_on: &[Qemu],
    run: |context| each_boots(context, &VIRTUALBOX_FORMATS),
    ..PLATFORM
};

/// Formats, each with the ID of its OEM files.
type Formats = [(&'static str, &'static str)];

/// Hyper-V's devices are in no emulator.
const PLAIN_FORMATS: [(&str, &str); 5] =
    [("raw.gz", ""), ("raw.zst", ""), ("vmdk", ""), ("vhd", ""), ("vhdx", "hyperv")];
const VIRTUALBOX_FORMATS: [(&str, &str); 2] = [("vdi", "virtualbox"), ("box", "vagrant")];

const NO_GUESTINFO: &str =
    "cannot read guestinfo.ovfenv from the hypervisor: the hypervisor does not open a channel";

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

/// Sizes of the disk with `/` and of that file system, in GiB.
const SIZES: &str = "device=$(readlink -f /sys/dev/block/$(mountpoint -d /)); \
    echo $(($(cat $device/../size) / 2097152)); df --output=size --block-size=1G / | tail -n1";
/// Size of the other partitions, and of what the file system takes for itself.
const OTHERS_GIB: u64 = 3;

fn boots(context: &Context<'_>, found: &Found) -> Result<(), Failure> {
    let machine = context.machine(1);
    nothing_failed(&machine.start()?)?;
    let oem = machine.read("/usr/share/oem/oem-release")?;
    expect(oem.lines().any(|line| line == format!("ID={}", found.id)), found.id, &oem)?;
    let hypervisor = machine.succeed("systemd-detect-virt --vm")?;
    expect(hypervisor.trim() == found.hypervisor, found.hypervisor, &hypervisor)?;
    uses(&machine, DISK_DRIVERS, found.disk)?;
    uses(&machine, NETWORK_DRIVERS, found.network)?;
    grown(&machine)?;
    let provisioned = "grep -x applied /etc/from-the-drive";
    machine.succeed(provisioned)?;
    nothing_failed(&machine.reboot()?)?;
    machine.succeed(provisioned).map(drop).map_err(Failure::from)
}

/// Boots one machine after the other, each from the disk in its format.
fn each_boots(context: &Context<'_>, formats: &Formats) -> Result<(), Failure> {
    for (index, (format, oem)) in formats.iter().enumerate() {
        let failed = |failure: Failure| Failure::Expected(format!("{format}: {}", failure.chain()));
        let folder = context.site.layout().root().join(format);
        let image = imported(context.run, format, &folder)?;
        context.site.replace_image(&image.raw)?;
        let machine = context.machine(index + 1);
        nothing_failed(&machine.start()?).map_err(failed)?;
        machine.succeed("grep -x applied /etc/from-the-drive")?;
        let release = machine.succeed("cat /usr/share/oem/oem-release; true")?;
        let has = release.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default();
        expect(has == *oem, &format!("OEM files of {oem:?}"), &release).map_err(failed)?;
        machine.shut_down()?;
        fs::remove_dir_all(&folder).map_err(|source| Failure::Disk { path: folder, source })?;
    }
    Ok(())
}

/// Checks that the first boot made a file system of what the image leaves of the disk.
pub fn grown(machine: &Machine<'_>) -> Result<(), Failure> {
    let sizes = machine.succeed(SIZES)?;
    let mut gib = sizes.split_ascii_whitespace().filter_map(|size| size.parse::<u64>().ok());
    let left = gib.next().zip(gib.next()).map(|(disk, data)| disk.saturating_sub(data));
    let wanted = format!("all but {OTHERS_GIB} GiB of the disk in the file system for data");
    expect(left.is_some_and(|left| left <= OTHERS_GIB), &wanted, &sizes)
}

pub fn nothing_failed(ready: &Ready) -> Result<(), Failure> {
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)
}

/// Prints the drivers on the path of the disk with `/` in the device tree, a line each.
pub const DISK_DRIVERS: &str = "device=$(readlink -f /sys/dev/block/$(mountpoint -d /)); \
    while [ \"$device\" != /sys/devices ]; do \
      [ -e \"$device/driver\" ] && basename \"$(readlink -f \"$device/driver\")\"; device=$(dirname \"$device\"); \
    done; true";
/// Prints the drivers of the network adapters.
const NETWORK_DRIVERS: &str = "for driver in /sys/class/net/*/device/driver; do basename \"$(readlink -f \"$driver\")\"; done | sort -u";

/// Checks that `drivers` prints this one, and no other of virtio.
pub fn uses(machine: &Machine<'_>, drivers: &str, expected: &str) -> Result<(), Failure> {
    let printed = machine.succeed(drivers)?;
    // Any virtio device has the driver of its bus, too.
    let is_virtio = |driver: &str| driver.starts_with("virtio") && driver != "virtio-pci";
    let other = printed.lines().any(|driver| is_virtio(driver) && driver != expected);
    expect(
        !other && printed.lines().any(|driver| driver == expected),
        &format!("the driver {expected}, and no other of virtio"),
        &printed,
    )
}

pub const VAGRANT: Scenario = Scenario {
    name: "platform-vagrant",
    about: "the box does what Vagrant asks of its guest, and Vagrant's insecure keys are gone for good after one was replaced",
    format: Some("box-libvirt"),
    run: vagrant,
    ..PLATFORM
};

/// Vagrant's public keys, RSA first. Vagrant before 2.3.8 knows only that one.
const INSECURE_KEYS: &str = include_str!("../../image/oem/vagrant/insecure-keys.pub");
/// 1 GiB; zeros of the root partition alone would be several.
const FIRST_BOOT_SECTORS: u64 = 2 << 20;
const AUTHORIZED_KEYS: &str = "/home/core/.ssh/authorized_keys";
/// The line of the key that Vagrant generates.
const NEW_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEtlZWxzb24gc2NlbmFyaW8sIG5vdCBhIHJlYWwga2V5 vagrant";
/// The networks of a machine with a private one, as Vagrant 2.3.4 writes them.
const NETWORKS: &str = "---
write_files:
- path: \"/etc/environment\"
  content: |-
    COREOS_PUBLIC_IPV4=127.0.0.1
    COREOS_PRIVATE_IPV4=172.17.8.101
coreos:
  units:
  - name: 50-vagrant1.network
    runtime: 'no'
    content: |-
      [Match]
      Name=vagrant1
      [Network]
      Address=172.17.8.101/24
";

/// Takes the steps of `vagrant up` in their order, with the commands of Vagrant's plugin for CoreOS guests.
fn vagrant(context: &Context<'_>) -> Result<(), Failure> {
    let machine = context.machine(1);
    machine.start()?;
    fills_no_disk(&machine)?;
    machine.succeed("grep -E 'ID_LIKE=.*coreos.*' /etc/os-release")?;
    let keys = machine.read(AUTHORIZED_KEYS)?;
    expect(INSECURE_KEYS.lines().all(|key| keys.contains(key)), "both insecure keys", &keys)?;
    replaces_the_key(&machine)?;
    for name in ["first", "second"] {
        // Ruby's YAML starts with the mark of a document.
        cloud_config(&machine, "/var/tmp/hostname.yml", &format!("---\nhostname: {name}\n"))?;
        let named = machine.succeed("hostname; cat /etc/hostname")?;
        expect(named.split_ascii_whitespace().eq([name, name]), name, &named)?;
    }
    cloud_config(&machine, "/var/tmp/networks.yml", NETWORKS)?;
    machine.succeed("grep -x Name=vagrant1 /etc/systemd/network/50-vagrant1.network")?;
    machine.succeed("grep -x COREOS_PRIVATE_IPV4=172.17.8.101 /etc/environment")?;
    machine.succeed("command -v rsync && sudo rsync --version")?;
    machine.write(
        "/tmp/vagrantfile-user-data",
        b"#cloud-config\nwrite_files: [{path: /etc/from-vagrant, content: applied}]\n",
    )?;
    machine.succeed("sudo mv /tmp/vagrantfile-user-data /var/lib/coreos-vagrant/")?;
    machine.wait_until_succeeds("grep -x applied /etc/from-vagrant", SOON)?;
    // Name and addresses are then the config drive's again, which a machine of Vagrant's does not have.
    machine.reboot()?;
    only_the_new_key(&machine)
}

/// The disks that vagrant-libvirt makes store zeros, as QEMU's version 2 of qcow2 with a backing file does.
fn fills_no_disk(machine: &Machine<'_>) -> Result<(), Failure> {
    let statistics = machine.succeed("cat /sys/block/vda/stat")?;
    let sectors = statistics.split_ascii_whitespace().nth(6).and_then(|sectors| sectors.parse::<u64>().ok());
    expect(
        sectors.is_some_and(|sectors| sectors < FIRST_BOOT_SECTORS),
        &format!("less than {FIRST_BOOT_SECTORS} sectors written, the seventh number"),
        &statistics,
    )
}

fn replaces_the_key(machine: &Machine<'_>) -> Result<(), Failure> {
    let rsa = INSECURE_KEYS.lines().next().unwrap_or_default();
    machine.succeed(&format!(
        "echo '{NEW_KEY}' >> {AUTHORIZED_KEYS}; echo '{rsa}' > /tmp/old; \
         grep -v -x -f /tmp/old {AUTHORIZED_KEYS} > {AUTHORIZED_KEYS}.tmp; \
         mv {AUTHORIZED_KEYS}.tmp {AUTHORIZED_KEYS} && chmod 0600 {AUTHORIZED_KEYS}"
    ))?;
    machine.wait_until_fails(&format!("grep -q insecure {AUTHORIZED_KEYS}"), SOON)?;
    only_the_new_key(machine)
}

fn only_the_new_key(machine: &Machine<'_>) -> Result<(), Failure> {
    let keys = machine.read(AUTHORIZED_KEYS)?;
    let is_insecure = |line: &str| INSECURE_KEYS.lines().any(|key| key == line);
    let replaced = !keys.lines().any(is_insecure) && keys.lines().any(|line| line == NEW_KEY);
    expect(replaced, "Vagrant's new key, and no insecure one", &keys)
}

/// Applies a cloud-config as Vagrant does. A failed unit fails the command.
fn cloud_config(machine: &Machine<'_>, path: &str, document: &str) -> Result<(), Failure> {
    machine.write(path, format!("#cloud-config\n\n{document}").as_bytes())?;
    let unit = path.trim_start_matches('/').replace('/', "-");
    machine.succeed(&format!("sudo systemctl start system-cloudinit@{unit}.service"))?;
    Ok(())
}
