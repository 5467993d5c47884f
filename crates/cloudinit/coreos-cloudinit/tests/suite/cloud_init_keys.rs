//! cloud-init keys that the original coreos-cloudinit lacks.

use crate::support::Machine;
use crate::support::systemd::FakeSystemd;

const CONFIG: &str = "#cloud-config
timezone: Europe/Berlin
locale: C.UTF-8
ntp: {servers: [10.0.0.1]}
ca_certs:
  trusted:
  - |
    -----BEGIN CERTIFICATE-----
    x
    -----END CERTIFICATE-----
packages: [vim]
";

#[test]
fn settings() {
    let machine = Machine::new();
    machine.put("/usr/share/zoneinfo/Europe/Berlin", "TZif");
    machine.put("/etc/locale.conf", "LC_TIME=C\nLANG=old\n");
    let systemd = FakeSystemd::start(&machine, &[("systemd-timesyncd.service", "done")]);
    let plan = machine.run(CONFIG, &["-plan"]);
    plan.expect(
        0,
        &["{\"op\":\"timezone\",\"name\":\"Europe/Berlin\",", "\"unit\":\"systemd-timesyncd.service\""],
    );
    machine
        .run(CONFIG, &["-root-run"])
        .expect(0, &["info: packages are not installed", "Set time zone to Europe/Berlin"]);
    let link = std::fs::read_link(machine.path("/etc/localtime")).unwrap();
    assert_eq!(link.to_str(), Some("../usr/share/zoneinfo/Europe/Berlin"));
    assert_eq!(machine.read("/etc/locale.conf"), "LC_TIME=C\nLANG=C.UTF-8\n");
    assert_eq!(machine.read("/etc/systemd/timesyncd.conf.d/20-cloudinit.conf"), "[Time]\nNTP=10.0.0.1\n");
    assert_eq!(
        machine.read("/etc/ca-certificates/20-cloudinit.crt"),
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
    );
    assert_eq!(systemd.calls()[0], "RestartUnit systemd-timesyncd.service");
    machine.run(CONFIG, &["-root-run"]).expect(0, &["Nothing changed"]);
    assert!(!systemd.calls().iter().any(|call| call.starts_with("RestartUnit")));

    let expected = "Failed to apply cloud-config: set the time zone to Mars/Base: there is no /usr/share/zoneinfo/Mars/Base";
    machine.run("#cloud-config\ntimezone: Mars/Base\n", &[]).expect(1, &[expected]);
}

#[test]
fn commands_run_in_order_and_are_not_logged() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(&machine, &[]);
    let config = "#cloud-config\nruncmd:\n- echo hush > /x\n- [echo, hush]\n";
    machine.run(config, &["-plan"]).expect(0, &["\"why\":\"an entry of runcmd\"}"]).never_contains("hush");
    machine.run(config, &["-root-run"]).expect(0, &[]).never_contains("hush");
    let names = machine.read("/var/lib/coreos-cloudinit/scripts/unit-name");
    let [first, second] = names.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(
        systemd.calls(),
        [
            format!("StartTransientUnit {first} Type=oneshot"),
            format!("StartTransientUnit {second} Type=oneshot After={first}"),
        ]
    );
    let name = first.strip_prefix("coreos-cloudinit-").unwrap().split('-').next().unwrap();
    let path = format!("/var/lib/coreos-cloudinit/scripts/{name}");
    assert_eq!((&*machine.read(&path), machine.mode(&path)), ("#!/bin/sh\necho hush > /x\n", 0o700));
}

#[test]
fn groups() {
    let machine = Machine::new();
    machine.put("/etc/group", "docker:x:100:old\n");
    for program in ["groupadd", "gpasswd", "useradd"] {
        machine.record(program, 0);
    }
    let config = "#cloud-config\ngroups: [docker, web-users: [u, old], docker: old]\nusers: [{name: u, groups: [web-users]}]\n";
    machine.run(config, &["-plan"]).expect(
        0,
        &[
            "{\"op\":\"groupadd\",\"name\":\"web-users\",",
            "{\"op\":\"group-member\",\"group\":\"web-users\",\"user\":\"u\",",
        ],
    );
    machine.run(config, &["-root-run"]).expect(0, &["Creating group 'web-users'"]).never_contains("warning");
    assert_eq!(
        machine.recorded(),
        [
            "groupadd -- web-users",
            "useradd --password * --create-home --groups web-users -- u",
            "gpasswd --add u web-users",
            "gpasswd --add old web-users",
        ]
    );
    for (text, finding) in [
        ("groups: [-x]", "line 2: error: group \"-x\" is not allowed"),
        ("groups: {a: ['b c']}", "line 2: error: user name \"b c\" is not allowed"),
        ("groups: {a: [{b: c}]}", "line 2: warning: incorrect type for \"a[0]\" (want string)"),
        ("groups: [[a]]", "line 2: warning: incorrect type for \"groups[0]\" (want string)"),
    ] {
        machine.run(format!("#cloud-config\n{text}\n"), &["-validate"]).expect(1, &[finding]);
    }
    machine.run("#cloud-config\ngroups: a, b\n", &["-plan"]).expect(0, &["\"name\":\"a\"", "\"name\":\"b\""]);
}
