//! Row A5: `coreos-cloudinit -from-file` on a machine, with everything that cloud-config supports.

use std::time::Duration;

use machines::machine::Machine;

use super::super::kv::expect_output;
use super::host::{log_in, new_key};
use machines::cluster::BackendKind::Qemu;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const FROM_FILE: Scenario = Scenario {
    name: "from-file",
    about: "coreos-cloudinit -from-file=cloud-config.yaml applies name, users, keys, files and units, once (A5)",
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: from_file,
    ..DEFAULTS
};

const RUN: &str = "sudo coreos-cloudinit -from-file=cloud-config.yaml 2>&1";
const SETTLED: Duration = Duration::from_secs(120);

/// KEY is replaced with the reader's.
const CONFIG: &str = r#"#cloud-config
hostname: by-hand
manage_etc_hosts: localhost
users:
  - name: elroy
    gecos: Elroy the Boy
    groups: [sudo, docker, not-there]
    ssh_authorized_keys: ["KEY"]
write_files:
  - path: /home/elroy/notes/a
    owner: elroy:elroy
    permissions: "0640"
    content: |
      of elroy
  - path: /etc/packed
    encoding: gzip+base64
    content: H4sIAAAAAAAAA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==
coreos:
  oem: {id: test, name: A "Test"}
  update: {reboot-strategy: off}
  units:
    - name: made.service
      enable: true
      command: start
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'echo made by $MAKER >/run/made'
        [Install]
        WantedBy=multi-user.target
      drop-ins:
        - name: 10-maker.conf
          content: |
            [Service]
            Environment=MAKER=hand
    - name: never.service
      mask: true
    - name: systemd-timesyncd.service
      command: stop
"#;

fn from_file(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    let (key_file, key) = new_key(context.site.layout().root())?;
    machine.write("/home/core/cloud-config.yaml", CONFIG.replace("KEY", &key).as_bytes())?;
    // The metadata has set the hostname already. A running proxy is notified of a new one.
    expect_output(
        &machine,
        "systemctl show --value -p ActiveEnterTimestampMonotonic systemd-hostnamed.service",
        "0\n",
    )?;
    machine.succeed("hostnamectl --static")?;
    let output = machine.succeed(RUN)?;
    expect_output(&machine, "hostnamectl --static", "by-hand\n")?;
    for line in [
        "Set hostname to by-hand",
        "Wrote file to \"/etc/packed\"",
        "Calling unit command \"start\" on \"made.service\"",
    ] {
        expect(output.contains(line), line, &output)?;
    }
    applied(&machine)?;
    let own = log_in(&machine, "elroy", &key_file, "id -Gn; cat notes/a")?;
    expect(
        own == "elroy sudo docker\nof elroy\n" || own == "elroy docker sudo\nof elroy\n",
        "elroy's groups and file",
        &own,
    )?;
    // A second run finds everything applied.
    let again = machine.succeed(RUN)?;
    expect(again.contains("Nothing changed"), "nothing to do", &again)?;
    // Written files stay; a manual run does not make the file the machine's user-data.
    machine.succeed("sudo rm /etc/packed && sync")?;
    machine.reboot()?;
    machine.wait_for_unit("made.service", SETTLED)?;
    machine.fail("test -e /etc/packed")?;
    machine.succeed(
        "sudo coreos-cloudinit -persist -from-file=cloud-config.yaml && sudo rm /etc/packed && sync",
    )?;
    machine.reboot()?;
    machine.wait_until_succeeds("test -e /etc/packed", SETTLED)?;
    // The metadata of `up` sets another hostname, before or after the file.
    machine.succeed("sudo systemctl start user-config.target")?;
    expect_output(&machine, "cat /proc/sys/kernel/hostname /etc/hostname", "by-hand\nby-hand\n")?;
    changed_in_place(&machine)?;
    a_script_that_fails(&machine)
}

/// A change of the persisted file is applied immediately, and once.
fn changed_in_place(machine: &Machine<'_>) -> Result<(), Failure> {
    const KEPT: &str = "/var/lib/coreos-install/user_data";
    // Rewritten with the same content: the unit runs and applies nothing.
    machine
        .succeed(&format!("sudo rm /etc/packed && sudo cp {KEPT} /tmp/kept && sudo cp /tmp/kept {KEPT}"))?;
    machine.wait_until_succeeds(
        "journalctl -b -u user-cloudinit-changed@* | grep 'Nothing changed: this user-data was applied'",
        SETTLED,
    )?;
    machine.fail("test -e /etc/packed")?;
    let script = "#!/bin/sh\\necho ran >>/run/ran\\n";
    for _ in 0..2 {
        machine.succeed(&format!("printf '{script}' | sudo tee {KEPT}"))?;
        machine.wait_until_succeeds("test -s /run/ran", SETTLED)?;
    }
    machine.succeed(&format!("printf '{script}echo again >>/run/ran\\n' | sudo tee {KEPT}"))?;
    machine.wait_until_succeeds("grep again /run/ran", SETTLED)?;
    expect_output(machine, "cat /run/ran", "ran\nran\nagain\n")
}

/// The run does not wait for the script; systemd and `-status` report its result.
fn a_script_that_fails(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("printf '#!/bin/sh\\nexit 3\\n' | sudo coreos-cloudinit -from-file=-")?;
    machine.wait_until_succeeds(
        "sudo coreos-cloudinit -status | grep '\"state\":\"failed\",\"result\":\"exit-code\",\"status\":3'",
        SETTLED,
    )?;
    machine.succeed("systemctl --failed --plain | grep ^coreos-cloudinit-")?;
    Ok(())
}

fn applied(machine: &Machine<'_>) -> Result<(), Failure> {
    expect_output(machine, "cat /proc/sys/kernel/hostname /etc/hostname", "by-hand\nby-hand\n")?;
    machine.succeed("grep -x '127.0.0.1 by-hand' /etc/hosts")?;
    expect_output(machine, "getent passwd elroy | cut -d: -f5,6", "Elroy the Boy:/home/elroy\n")?;
    // No password was set, so that none is accepted.
    expect_output(machine, "sudo getent shadow elroy | cut -d: -f2", "*\n")?;
    expect_output(
        machine,
        "sudo stat -c '%U:%G %a' /home/elroy/notes/a /home/elroy/notes",
        "elroy:elroy 640\nelroy:elroy 755\n",
    )?;
    expect_output(machine, "cat /etc/packed", "hello world")?;
    expect_output(
        machine,
        "cat /etc/oem-release",
        "ID=test\nVERSION_ID=\nNAME=\"A \\\"Test\\\"\"\nHOME_URL=\"\"\nBUG_REPORT_URL=\"\"\n",
    )?;
    expect_output(
        machine,
        "grep ^REBOOT_STRATEGY= /etc/coreos/update.conf; systemctl is-enabled locksmithd.service; true",
        "REBOOT_STRATEGY=off\nmasked-runtime\n",
    )?;
    expect_output(
        machine,
        "cat /run/made; systemctl is-active made.service; systemctl is-enabled made.service",
        "made by hand\nactive\nenabled\n",
    )?;
    expect_output(
        machine,
        "systemctl is-enabled never.service; systemctl is-active systemd-timesyncd.service; true",
        "masked\ninactive\n",
    )
}
