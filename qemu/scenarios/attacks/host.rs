//! Root in an nspawn machine, which has the host's kernel, tries to change the host.

use machines::cluster::BackendKind::Nspawn;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const HOST: Scenario = Scenario {
    name: "attack-host",
    about: "root in a container machine does not set the host's clock, read its kernel log or disks, or change its settings",
    on: &[Nspawn],
    run: host,
    ..DEFAULTS
};

/// Harmless where they succeed: the clock is set to itself, files are opened without a write, a disk is read.
const ATTACKS: [&str; 11] = [
    "sudo date --set=@$(date +%s)",
    "sudo dmesg",
    "sudo sh -c ': >>/proc/sys/kernel/core_pattern'",
    "sudo sh -c ': >>/proc/sys/vm/drop_caches'",
    "sudo sh -c ': >>/proc/sysrq-trigger'",
    "sudo sh -c ': >>/sys/power/state'",
    // What nspawn mounts over these files is no obstacle to root.
    "sudo unshare --mount sh -c 'mount -o remount,bind,rw /proc/sys; umount -l /proc/sys; : >>/proc/sys/kernel/core_pattern'",
    "sudo unshare --mount sh -c 'umount -l /proc/sysrq-trigger; : >>/proc/sysrq-trigger'",
    "sudo sh -c ': >>/run/keelson/sysfs/kernel/rcu_expedited'",
    "set -- $(sed -n 3p /proc/partitions) && sudo mknod -m 600 /var/tmp/disk b $1 $2 && sudo head -c 512 /var/tmp/disk",
    "sudo mount -t devtmpfs none /mnt && sudo test -e /mnt/kmsg",
];
/// Bits of `CapBnd`: `CAP_SYS_MODULE`, `CAP_SYS_RAWIO`, `CAP_MAC_OVERRIDE`, `CAP_MAC_ADMIN`.
const DROPPED: [u32; 4] = [16, 17, 32, 33];
const BOUNDING_SET: &str = "sudo sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status";

fn host(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    for attack in ATTACKS {
        machine.fail(attack)?;
    }
    let map = machine.succeed("cat /proc/self/uid_map")?;
    let root = map.split_ascii_whitespace().nth(1);
    expect(root.is_some_and(|root| root != "0"), "root is an unprivileged user of the host", &map)?;
    let set = machine.succeed(BOUNDING_SET)?;
    let bits =
        u64::from_str_radix(set.trim(), 16).map_err(|error| Failure::Expected(format!("{set}: {error}")))?;
    expect(DROPPED.iter().all(|bit| bits >> bit & 1 == 0), "no capability of the whole kernel", &set)?;
    // What containers in the machine need.
    machine
        .succeed("sudo systemctl start docker.service && docker run --rm busybox true")
        .map(drop)
        .map_err(Failure::from)
}
