//! Calls to systemd and helper programs, and their order.

use crate::support::Machine;
use crate::support::systemd::{FakeSystemd, RUNS};

const UNITS: &str = "#cloud-config
coreos:
  update: {group: alpha}
  units:
    - name: a.service
      enable: true
      command: start
      content: |
        [Service]
        ExecStart=/bin/true
        [Install]
        WantedBy=multi-user.target
    - name: missing.service
      command: start
    - name: bad.service
      command: restart
    - name: 10-x.network
      content: \"[Match]\"
    - name: last.service
      command: start
";

#[test]
fn commands_run_in_order_and_jobs_are_awaited() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(
        &machine,
        &[
            ("a.service", "done"),
            ("bad.service", "failed"),
            ("last.service", "done"),
            ("systemd-networkd.service", "done"),
            ("update-engine.service", "done"),
        ],
    );
    machine.run(UNITS, &["-root-run"]).expect(
        1,
        &[
            "Calling unit command \"start\" on \"a.service\"",
            "Result of \"start\" on \"a.service\": done",
            "Failed to apply cloud-config: start missing.service: StartUnit failed: org.freedesktop.DBus.Error.Failed: Unit missing.service not found.",
            "Failed to apply cloud-config: restart bad.service: the job's result is failed",
            "Restarting systemd-networkd",
        ],
    );
    let first = [
        "EnableUnitFiles a.service runtime=false force=true",
        "Reload",
        "RestartUnit systemd-networkd.service",
        "job of systemd-networkd.service: done",
        "StartUnit a.service",
        "job of a.service: done",
        "StartUnit missing.service",
        "RestartUnit bad.service",
        "job of bad.service: failed",
        "StartUnit last.service",
        "job of last.service: done",
        "RestartUnit update-engine.service",
    ];
    // The last job is not awaited: it may have finished or not.
    assert_eq!(systemd.calls()[..first.len()], first);
}

#[test]
fn daemon_reload_only_if_needed() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(
        &machine,
        &[("a.service", "done"), ("loaded.service", "done"), ("systemd-networkd.service", "done")],
    );
    let config = |content: &str| {
        format!(
            "#cloud-config\ncoreos:\n  units:\n  - {{name: a.service, content: '{content}', command: start}}\n  - \
             {{name: x.network, content: '[Match]'}}\n"
        )
    };
    let start = ["StartUnit a.service", "job of a.service: done"];
    let restart = ["RestartUnit systemd-networkd.service", "job of systemd-networkd.service: done"];
    machine.run(config("[Service]"), &["-root-run"]).expect(0, &["No daemon-reload is needed"]);
    assert_eq!(systemd.calls(), [restart, start].concat());
    machine.run(config("[Service]"), &["-root-run"]).expect(0, &[]);
    assert_eq!(systemd.calls(), start);
    machine
        .run("#cloud-config\ncoreos: {units: [{name: loaded.service, content: '[Unit]'}]}", &["-root-run"])
        .expect(0, &[]);
    assert_eq!(systemd.calls(), ["Reload"]);
    machine
        .run("#cloud-config\ncoreos: {units: [{name: t@.service, content: '[Unit]'}]}", &["-root-run"])
        .expect(0, &[]);
    assert_eq!(systemd.calls(), ["Reload"]);
}

/// As `reboot-strategy: reboot` does on a machine booted with `off`.
#[test]
fn unmasked_unit_is_reloaded_before_start() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(&machine, &[("loaded.service", "done")]);
    let mask = machine.path("/run/systemd/system/loaded.service");
    std::fs::create_dir_all(mask.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/null", &mask).unwrap();
    let unit = "#cloud-config\ncoreos: {units: [{name: loaded.service, runtime: true, command: start}]}";
    machine.run(unit, &["-root-run"]).expect(0, &["Reloading systemd's units"]);
    assert_eq!(systemd.calls(), ["Reload", "StartUnit loaded.service", "job of loaded.service: done"]);
    machine.run(unit, &["-root-run"]).expect(0, &[]);
    assert_eq!(systemd.calls(), ["StartUnit loaded.service", "job of loaded.service: done"]);
}

#[test]
fn missing_bus_does_not_stop_the_rest() {
    let machine = Machine::new();
    machine.run(UNITS, &["-root-run"]).expect(1, &["cannot reach systemd over D-Bus"]);
    assert!(machine.has("/etc/systemd/system/a.service"));
    assert!(machine.read("/etc/coreos/update.conf").contains("GROUP=alpha"));
}

#[test]
fn users_are_created_by_the_distributions_programs() {
    let machine = Machine::new();
    machine.put("/etc/passwd", "core:x:500:500::/home/core:/bin/bash\n");
    machine.put("/etc/group", "docker:x:100:\n");
    machine.record("useradd", 0);
    machine.record("chpasswd", 0);
    let config = "#cloud-config
users:
  - {name: elroy, passwd: $6$salt$hash, gecos: E. Roy, groups: [docker, nosuch], no_user_group: true}
  - {name: core, passwd: $6$other, shell: /bin/sh}
  - {name: daemon, system: true, no_create_home: true}
";
    let output = machine.run(config, &["-root-run"]);
    output.expect(0, &["User 'core' exists, ignoring creation-time fields", "group 'nosuch'"]);
    output.never_contains("$6$");
    assert_eq!(
        machine.recorded(),
        [
            "useradd --password * --comment E. Roy --create-home --groups docker --no-user-group -- elroy",
            "chpasswd -e",
            "< elroy:$6$salt$hash",
            "chpasswd -e",
            "< core:$6$other",
            "useradd --password * --no-create-home --system -- daemon",
        ]
    );
}

#[test]
fn existing_users_passwords_are_locked() {
    let machine = Machine::new();
    let accounts =
        "core:x:0:0::/home/core:/bin/bash\nopen:x:0:0::/:\nkey:x:0:0::/:\nlocked:x:0:0::/:\nelse:x:0:0::/:\n";
    machine.put("/etc/passwd", accounts);
    machine.put(
        "/etc/shadow",
        "core:$6$core:1::::::\nopen::1::::::\nkey:*:1::::::\nlocked:!$6$locked:1::::::\n",
    );
    machine.record("useradd", 0);
    machine.record("chpasswd", 0);
    let users: String = ["core", "open", "key", "locked", "new"]
        .iter()
        .map(|name| format!("  - {{name: {name}, lock_passwd: true}}\n"))
        .collect();
    machine
        .run(format!("#cloud-config\nusers:\n{users}"), &["-root-run"])
        .expect(0, &["Locking 'core' user's password"])
        .never_contains("$6$");
    assert_eq!(
        machine.recorded(),
        [
            "chpasswd -e",
            "< core:!$6$core",
            "chpasswd -e",
            "< open:!",
            "useradd --password * --create-home -- new"
        ]
    );
    machine
        .run("#cloud-config\nusers: [{name: else, lock_passwd: true}]\n", &["-root-run"])
        .expect(1, &["lock the password of 'else': user 'else' is not in /etc/shadow"]);
}

#[test]
fn keys_are_installed_even_if_users_fail() {
    let machine = Machine::new();
    machine.put("/etc/passwd", "core:x:0:0::/home/core:/bin/bash\n");
    machine.record("useradd", 3);
    let config = "#cloud-config\nusers: [{name: x}]\nssh_authorized_keys: [ssh-ed25519 AAAA me]\n";
    machine.run(config, &["-root-run"]).expect(
        1,
        &[
            "Failed to apply cloud-config: create user 'x': useradd failed with exit status: 3: refused",
            "Authorized SSH keys for core user",
        ],
    );
    assert_eq!(machine.read("/home/core/.ssh/authorized_keys"), "ssh-ed25519 AAAA me\n");
}

#[test]
fn nothing_is_run_below_a_root_without_root_run() {
    let machine = Machine::new();
    machine.record("useradd", 0);
    machine.run("#cloud-config\nusers: [{name: x}]\n", &[]).expect(0, &["Skipping creating user 'x'"]);
    assert_eq!(machine.recorded(), [""; 0]);
}

const OEM: &str = include_str!("../../../../../cloud-config/oem.sample");

#[test]
fn platform_config_starts_another_run_and_waits_for_it() {
    let machine = Machine::new();
    machine.put("/user-data", "#cloud-config\nhostname: from-the-user\n");
    let program = env!("CARGO_BIN_EXE_coreos-cloudinit");
    let (root, user_data) = (machine.root(), machine.path("/user-data"));
    // It would block forever if it had to wait for the lock.
    let job =
        format!("{RUNS}timeout 10 {program} -root={} -from-file={}", root.display(), user_data.display());
    let systemd = FakeSystemd::start(&machine, &[("oem-cloudinit.service", &job)]);
    machine.run(OEM, &["-root-run"]).expect(0, &["Result of \"start\" on \"oem-cloudinit.service\": done"]);
    let started =
        ["StartUnit oem-cloudinit.service".to_owned(), "job of oem-cloudinit.service: done".to_owned()];
    assert_eq!(systemd.calls()[..], started);
    assert_eq!(machine.read("/etc/hostname"), "from-the-user\n");
    assert!(
        machine
            .read("/run/systemd/system/oem-cloudinit.service.d/10-platform.conf")
            .contains("OEM=ec2-compat")
    );
}
