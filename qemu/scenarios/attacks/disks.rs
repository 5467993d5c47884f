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
    long_on: &[Qemu],
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
    for (device, refusal) in [("/tmp/seed", "it is a virtual device"), (PARTITION, "the boot is over")] {
        machine.succeed(&format!(
            "sudo sh -ec 'mkfs.vfat -n CIDATA {device} >/dev/null; mount {device} /mnt; cp /tmp/user-data /mnt/; \
             echo instance-id: attack >/mnt/meta-data; umount /mnt'"
        ))?;
        let event = match device {
            PARTITION => {
                "sudo udevadm trigger --settle /sys/class/block/$(basename $(readlink -f PARTITION))"
            }
            _ => "sudo losetup --find /tmp/seed && sudo udevadm settle",
        };
        machine.succeed(&event.replace("PARTITION", device))?;
        machine.wait_until_succeeds(&refused(refusal), EVENT_LIMIT)?;
        machine.succeed(NOT_OWNED)?;
    }
    let record = machine.succeed("sudo cat /var/lib/keelson/config-media.json")?;
    expect(record.contains("config-2") && !record.contains("CIDATA"), "the config drive only", &record)?;

    machine.reboot()?;
    machine
        .wait_until_succeeds(&refused("it is writable, and is not the one of the first boot"), EVENT_LIMIT)?;
    machine.succeed(NOT_OWNED)?;
    machine.succeed(configured)?;
    // What the message advises.
    machine.succeed(&format!(
        "sudo sh -ec 'mount -o ro {PARTITION} /mnt; coreos-cloudinit --from-nocloud=/mnt; test -e /run/owned'"
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
    let disk = "lsblk --noheadings --nodeps --output PKNAME /dev/disk/by-partlabel/USR-A";
    for mount in ["/usr/share/oem", "/boot"] {
        machine.succeed(&format!(
            "findmnt --noheadings --real --output SOURCE {mount} | grep \"^/dev/$({disk})\""
        ))?;
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

fn refused(why: &str) -> String {
    format!(
        "sudo journalctl -b --no-pager -t keelson-config-media | grep 'CIDATA. does not provide cloud-config: {why}'"
    )
}
