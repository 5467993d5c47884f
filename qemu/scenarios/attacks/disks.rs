//! A writer of a block device, such as a container with a volume, labels it as a NoCloud seed or as the OEM partition:
//! what it provides would run as root.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DISKS: Scenario = Scenario {
    name: "attack-disks",
    about: "disks labelled as a seed, OEM or boot partition are not used, neither now nor after a reboot; the real ones are",
    on: &[Qemu],
    user_data: Some("#cloud-config\nwrite_files: [{path: /run/configured, content: yes}]\n"),
    run: disks,
    ..DEFAULTS
};

/// Limit until udev has processed an event.
const EVENT_LIMIT: Duration = Duration::from_secs(20);
/// The inactive slot: a writable partition of a disk on a bus.
const PARTITION: &str = "/dev/disk/by-partlabel/USR-B";
const SEED: &str = "#cloud-config\nwrite_files: [{path: /run/owned, content: yes}]\n";
const NOT_OWNED: &str =
    "test ! -e /run/owned && ! systemctl is-active media-cidata.mount user-nocloud.service";

fn disks(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    other_partitions(&machine)?;
    let configured = "test -e /run/configured && systemctl is-active user-configdrive.service";
    machine.succeed(configured)?;
    machine.wait_until_succeeds("test -e /run/keelson/config-media-closed", EVENT_LIMIT)?;

    machine.write("/tmp/user-data", SEED.as_bytes())?;
    machine.succeed("truncate --size=8M /tmp/seed")?;
    // The second is like the config drive in all that its writer can set.
    let uuid = machine.succeed("lsblk --noheadings --output UUID /dev/config-media/configdrive")?;
    let uuid = uuid.trim().replace('-', "");
    expect(uuid.len() == 8, "the config drive's volume id", &uuid)?;
    let seeds = [("/tmp/seed", "12345678", "CIDATA"), (PARTITION, uuid.as_str(), "config-2")];
    for (device, id, label) in seeds {
        machine.succeed(&format!(
            "sudo sh -ec 'mkfs.vfat -i {id} -n {label} {device} >/dev/null; mount {device} /mnt; \
             cp /tmp/user-data /mnt/; echo instance-id: attack >/mnt/meta-data; \
             mkdir -p /mnt/openstack/latest; cp /tmp/user-data /mnt/openstack/latest/user_data; umount /mnt'"
        ))?;
    }
    machine.succeed("sudo losetup --find /tmp/seed && sudo udevadm settle")?;
    machine.wait_until_succeeds(&refused("CIDATA", "it is a virtual device"), EVENT_LIMIT)?;
    machine.succeed(&format!(
        "sudo udevadm trigger --settle /sys/class/block/$(basename $(readlink -f {PARTITION}))"
    ))?;
    machine.wait_until_succeeds(&refused("config-2", "the boot is over"), EVENT_LIMIT)?;
    machine.succeed(NOT_OWNED)?;

    machine.reboot()?;
    let why = "it is writable, and is not the one of the last boot";
    machine.wait_until_succeeds(&refused("config-2", why), EVENT_LIMIT)?;
    machine.succeed(NOT_OWNED)?;
    machine.succeed(configured)?;
    // What the message advises.
    machine.succeed(&format!(
        "sudo sh -ec 'mount -o ro {PARTITION} /mnt; coreos-cloudinit --from-configdrive=/mnt; test -e /run/owned'"
    ))?;
    Ok(())
}

/// Another disk has partitions with the names of ours, and udev has linked those.
fn other_partitions(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(
        "truncate --size=8M /tmp/disk && printf 'label: gpt\\nsize=1MiB, name=OEM\\nsize=1MiB, name=EFI-SYSTEM\\n' \
         | sfdisk --quiet /tmp/disk && sudo losetup --partscan /dev/loop7 /tmp/disk && sudo udevadm settle && \
         sudo ln -sfn /dev/loop7p1 /dev/disk/by-partlabel/OEM && \
         sudo ln -sfn /dev/loop7p2 /dev/disk/by-partlabel/EFI-SYSTEM",
    )?;
    machine.succeed("sudo systemctl restart usr-share-oem.mount boot.mount")?;
    let disk = machine.succeed("lsblk --noheadings --nodeps --output PKNAME /dev/disk/by-partlabel/USR-A")?;
    let disk = format!("/dev/{}", disk.trim());
    for mount in ["/usr/share/oem", "/boot"] {
        // Mounts the boot partition.
        machine.succeed(&format!("sudo ls {mount}"))?;
        let source = machine.succeed(&format!("findmnt --noheadings --real --output SOURCE {mount}"))?;
        let is_ours = disk != "/dev/" && source.starts_with(&disk);
        expect(is_ours, &format!("a partition of {disk} on {mount}"), &source)?;
    }
    machine.succeed(
        "sudo losetup --detach /dev/loop7 && sudo udevadm trigger --settle --subsystem-match=block",
    )?;
    // Its configuration applies at each boot, and it survives a reset.
    machine.fail("sudo touch /usr/share/oem/written")?;
    machine.succeed("sudo mount -o remount,rw /usr/share/oem && sudo cp /usr/bin/true /usr/share/oem/")?;
    machine.fail("/usr/share/oem/true")?;
    machine.succeed("sudo sh -c 'rm /usr/share/oem/true && mount -o remount,ro /usr/share/oem'")?;
    Ok(())
}

fn refused(label: &str, why: &str) -> String {
    format!(
        "sudo journalctl -b --no-pager -t keelson-config-media | \
         grep -i '({label}) does not provide cloud-config: {why}'"
    )
}
