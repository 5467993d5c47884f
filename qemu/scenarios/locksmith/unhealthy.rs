//! A machine that is unhealthy after its reboot.

use machines::cluster::BackendKind::Qemu;

use super::super::kv::{FORMED, SOON, expect_output};
use super::{SEND, UNIT};
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const UNHEALTHY: Scenario = Scenario {
    name: "locksmith-unhealthy",
    about: "a machine whose boot is not found good keeps the lock until it is, whoever restarts its locksmithd",
    nodes: 1,
    long_on: &[Qemu],
    run: unhealthy,
    ..DEFAULTS
};

/// Fails while `/var/lib/bad` exists. Only the target starts the check: a run of coreos-cloudinit that started it
/// would fail with it, and count as another failed unit after the repair.
const CHECK: &str = "    \
- name: check.service
      content: |
        [Unit]
        Before=boot-complete.target
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/bin/test ! -e /var/lib/bad
    - name: boot-complete.target
      drop-ins:
        - name: 10-check.conf
          content: |
            [Unit]
            Requires=check.service
            After=check.service
    - name: judge.service
      command: start
      content: |
        [Unit]
        Wants=boot-complete.target
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/bin/true
";

fn unhealthy(context: &Context<'_>) -> Result<(), Failure> {
    let data = format!(
        "#cloud-config\ncoreos:\n  update:\n    reboot-strategy: etcd-lock\n  locksmith:\n    \
         window_start: '0:00'\n    window_length: 23h59m59s\n  etcd:\n    addr: $private_ipv4:4001\n    \
         peer-addr: $private_ipv4:7001\n  units:\n{CHECK}{UNIT}    - name: etcd.service\n      command: start\n"
    );
    context.site.set_user_data(data.as_bytes())?;
    context.boot()?;
    let machine = &context.machine(1);
    machine.wait_for_unit("etcd.service", FORMED)?;
    machine.wait_for_unit("locksmithd.service", SOON)?;
    machine.succeed("systemctl is-active boot-complete.target")?;
    // The reboot window of the cloud-config applies.
    let window = "Reboot window start is \"0:00\" and length is \"23h59m59s\"";
    machine.succeed(&format!("sudo journalctl -b -u locksmithd -o cat | grep -Fx '{window}'"))?;
    machine.succeed("grep -x STRATEGY=etcd-lock /run/update-engine/coordinator.conf")?;
    let boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")?;
    let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
    machine.succeed(&format!("sudo touch /var/lib/bad && sync && {SEND}"))?;
    let other = format!("test \"$(cat /proc/sys/kernel/random/boot_id)\" != {}", boot.trim());
    machine.wait_until_succeeds(&other, context.boot_limit())?;
    machine.wait_for_unit("etcd.service", FORMED)?;
    let output =
        "sudo journalctl -b -u locksmithd -o cat | grep 'Not healthy yet.*boot-complete.target is inactive'";
    machine.wait_until_succeeds(output, SOON)?;
    let held = format!("Available: 0\nMax: 1\n\nMACHINE ID\n{id}\n");
    expect_output(machine, "locksmithctl status", &held)?;
    // Restarting locksmithd is no reason to reboot either; it first checks after a second.
    machine.succeed("sudo systemctl restart locksmithd.service")?;
    machine.wait_until_succeeds(&format!("test $({output} | wc -l) -ge 2"), SOON)?;
    expect_output(machine, "locksmithctl status", &held)?;
    let why = "locksmithctl status --json | grep -F '\"reason\":\"update\",\"stale\":false'";
    machine.succeed(why)?;
    machine.succeed("sudo rm /var/lib/bad && sudo systemctl start boot-complete.target")?;
    machine.wait_until_succeeds("locksmithctl status | grep -x 'Available: 1'", SOON)?;
    expect_output(machine, "etcdctl get /coreos.com/updateengine/rebootlock/semaphore.meta", "{}\n")
}
