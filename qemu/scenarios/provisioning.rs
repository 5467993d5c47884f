//! Valid user-data is applied exactly; for invalid user-data the error is located, and the rest of the machine
//! works.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::Datasource;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

/// Limit for the network and the certificates to follow their files.
const SETTLED: Duration = Duration::from_secs(240);

pub const NETWORK_AND_TRUST: Scenario = Scenario {
    name: "network-and-trust",
    about: "cloud-config sets the host name, static IPv4 and IPv6 addresses, a proxy and a trusted certificate",
    user_data: Some(include_str!("../user-data/network.yaml")),
    long_on: &[Qemu],
    run: network_and_trust,
    ..DEFAULTS
};

fn network_and_trust(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    let name = machine.succeed("cat /proc/sys/kernel/hostname")?;
    expect(name.trim() == "static-01", "the host name of the user-data", &name)?;
    for address in ["192.0.2.10/24", "2001:db8::10/64"] {
        machine.wait_until_succeeds(&format!("ip -o address show static0 | grep -F {address}"), SETTLED)?;
    }
    let proxy = machine.succeed("systemctl show --property=Environment docker.service")?;
    expect(proxy.contains("HTTP_PROXY=http://proxy.invalid:3128"), "docker's proxy", &proxy)?;
    let trusted =
        "openssl verify -no-CApath -CAfile /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/scenario.pem";
    machine.wait_until_succeeds(trusted, SETTLED)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

const BAD: &str = "#cloud-config\nhostname: bad\nwrite_files:\n\t- path: /etc/x\n";

pub const BAD_USER_DATA: Scenario = Scenario {
    name: "bad-user-data",
    about: "with user-data that is not YAML a machine boots, its ssh key works, and the journal names the line",
    user_data: Some(BAD),
    long_on: &[Qemu],
    run: bad_user_data,
    ..DEFAULTS
};

fn bad_user_data(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    // That this runs at all shows that the ssh key of the config drive's metadata was installed.
    let journal = machine.succeed("sudo journalctl --no-pager -b | grep -i cloudinit")?;
    let named = journal.to_lowercase().lines().any(|line| line.contains("line 4"));
    expect(named, "the journal to name line 4 of the user-data", &journal)
}

/// With a user's key, as most user-data has.
const FIRST: &str = "#cloud-config\nhostname: core-01\nssh_authorized_keys: [ssh-ed25519 AAAA mine]\n";
const CHANGED: &str = "#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAA mine]\nwrite_files: [{path: /etc/changed, content: yes}]\n\
    coreos: {units: [{name: changed.service, command: start, content: \"[Service]\\nExecStart=/bin/sleep inf\\n\"}]}\n";

pub const PROVISION: Scenario = Scenario {
    name: "provision",
    about: "changed user-data is applied to a machine that runs, and again when it boots; who could log in still can",
    user_data: Some(FIRST),
    long_on: &[Qemu],
    run: provision,
    ..DEFAULTS
};

fn provision(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    machine.fail("test -e /etc/changed")?;
    expect(context.site.set_user_data(CHANGED.as_bytes())?, "another user-data", "the same")?;
    context.site.provision(machine.name(), SETTLED)?;
    let file = machine.succeed("cat /etc/changed; systemctl is-active changed.service")?;
    expect(file == "yesactive\n", "the new file and unit", &file)?;
    machine.succeed("sudo rm /etc/changed && sync")?;
    machine.reboot()?;
    let file = machine.succeed("cat /etc/changed; systemctl is-active changed.service")?;
    expect(file == "yesactive\n", "the new file and unit at the next boot", &file)
}

pub const NOCLOUD: Scenario = Scenario {
    name: "nocloud",
    about: "a disk labelled cidata gives a machine its name, key and user-data",
    user_data: Some("#cloud-config\nwrite_files: [{path: /etc/from-the-seed, content: $private_ipv4}]\n"),
    datasource: Datasource::NoCloud,
    on: &[Qemu],
    long_on: &[Qemu],
    run: nocloud,
    ..DEFAULTS
};

fn nocloud(context: &Context<'_>) -> Result<(), Failure> {
    let machine = context.machine(1);
    let failed = machine.start()?.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    let node = machine.node()?;
    let name = machine.succeed("cat /proc/sys/kernel/hostname")?;
    expect(name.trim() == node.name, &node.name, &name)?;
    let written = machine.read("/etc/from-the-seed")?;
    expect(written == node.address.to_string(), "the machine's address", &written)?;
    let journal = machine
        .succeed("sudo journalctl --no-pager -b -u user-nocloud.service -u user-configdrive.service")?;
    let kind = "Fetching user-data from datasource of type \"nocloud\"";
    expect(journal.contains(kind) && !journal.contains("cloud-drive"), kind, &journal)
}

/// The second script would finish long before the first if it did not wait for it.
const PARTS: &str = "Content-Type: multipart/mixed; boundary=part\nMIME-Version: 1.0\n\n\
    --part\nContent-Type: text/x-shellscript\n\n#!/bin/sh\nsleep 5\necho one > /var/lib/first\n\n\
    --part\nContent-Type: text/cloud-config\n\n#cloud-config\nhostname: parts-01\nwrite_files:\n\
    - {path: /etc/part, content: three}\n\n\
    --part\nContent-Type: text/x-shellscript\n\n#!/bin/bash\ncat /etc/part /var/lib/first > /var/lib/second\n\n\
    --part\nContent-Type: text/cloud-config\n\nhostname: never\nntp: {servers: [192.0.2.1]}\n\n--part--\n";

/// A cloud's network description: networkd must accept every setting of its conversion.
const INTERFACES: &str = "iface far0 inet manual\niface bond7 inet manual\nbond-slaves far0\nbond-mode 4\n\
    bond-miimon 100\nbond-lacp-rate 1\nbond-xmit-hash-policy layer3+4\niface bond7.9 inet static\n\
    address 192.0.2.20\nnetmask 255.255.255.0\ngateway 192.0.2.1\ndns-nameservers 192.0.2.53\n\
    hwaddress ether 02:00:00:00:00:01\niface far1 inet dhcp\n";

/// A network config of a NoCloud seed.
const NETWORK_CONFIG: &str = "version: 2\nethernets:\n  far2:\n    addresses: [192.0.2.21/24]\n    mtu: 1400\n\
    \x20   nameservers: {addresses: [192.0.2.53], search: [example.org]}\n\
    \x20   routes: [{to: 198.51.100.0/24, via: 192.0.2.1, metric: 50, on-link: true}]\n\
    \x20 far: {match: {name: \"far*\"}, dhcp4: true, accept-ra: true}\n";

pub const PARTS_AND_NETWORK: Scenario = Scenario {
    name: "parts-and-network",
    about: "of multipart user-data scripts run one after the other; a cloud's network becomes files that networkd knows",
    user_data: Some(PARTS),
    long_on: &[Qemu],
    run: parts_and_network,
    ..DEFAULTS
};

fn parts_and_network(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    let name = machine.succeed("cat /proc/sys/kernel/hostname")?;
    expect(name.trim() == "parts-01", "the first host name", &name)?;
    let written = machine.wait_until_succeeds("cat /var/lib/second | grep one", SETTLED)?;
    expect(written.trim() == "threeone", "what the config and the first script wrote", &written)?;
    let servers = machine.succeed("cat /etc/systemd/timesyncd.conf.d/20-cloudinit.conf")?;
    expect(servers == "[Time]\nNTP=192.0.2.1\n", "the time servers", &servers)?;

    machine.succeed("mkdir -p /tmp/drive/openstack/latest /tmp/drive/openstack/content")?;
    machine.succeed(&format!("printf '{INTERFACES}' > /tmp/drive/openstack/content/0000"))?;
    let meta = "{\"network_config\": {\"content_path\": \"/content/0000\"}}";
    machine.succeed(&format!("echo '{meta}' > /tmp/drive/openstack/latest/meta_data.json"))?;
    // A container uses the host's modules, so that modprobe may fail.
    machine.succeed("sudo coreos-cloudinit -from-configdrive=/tmp/drive -convert-netconf=debian || true")?;
    machine
        .succeed(&format!("mkdir -p /tmp/seed && printf '{NETWORK_CONFIG}' > /tmp/seed/network-config"))?;
    machine.succeed("touch /tmp/seed/meta-data")?;
    machine.succeed("sudo coreos-cloudinit -from-nocloud=/tmp/seed -convert-netconf=cloud-init")?;
    let files = machine.succeed("ls /run/systemd/network; systemctl is-active systemd-networkd.service")?;
    let has_all =
        ["01-bond7.netdev", "00-far2.network", "ff-far_.network"].iter().all(|file| files.contains(file));
    expect(has_all && files.ends_with("active\n"), "the files", &files)?;
    let journal = machine.succeed("sudo journalctl --no-pager -b -u systemd-networkd.service")?;
    // networkd's warning names the file and line: `01-bond7.netdev:5: Unknown key ...`.
    let complaint = journal.lines().find(|line| line.contains(".network:") || line.contains(".netdev:"));
    expect(complaint.is_none(), "no complaint about a file", complaint.unwrap_or_default())
}

/// Such a machine is reachable only by its console: fw_cfg passes no ssh key.
const ODD: &str = "#cloud-config\nhostname: odd\ncoreos: {units: [{name: tell.service, command: start, content: \
    \"[Service]\\nType=oneshot\\nExecStart=/bin/sh -c 'date +\\\"fw_cfg was read in %%Y by %H\\\" >/dev/ttyS0'\\n\"}]}\n";

pub const ODD_MACHINE: Scenario = Scenario {
    name: "odd-machine",
    about: "with user-data by fw_cfg, a clock in 1970, QEMU's oldest processor and keelson.autologin, a machine boots and is logged in",
    on: &[Qemu],
    user_data: Some(ODD),
    datasource: Datasource::FwCfg,
    qemu_arguments: &[
        // Without SSE 4.2, and without the processor's SHA-256.
        "-cpu",
        "qemu64",
        "-rtc",
        "base=1970-01-01T00:00:00",
        "-smbios",
        "type=11,value=io.systemd.stub.kernel-cmdline-extra=keelson.autologin",
    ],
    run: odd_machine,
    ..DEFAULTS
};

fn odd_machine(context: &Context<'_>) -> Result<(), Failure> {
    let machine = context.machine(1);
    let ready = machine.start()?;
    let failed = ready.failed_units.join(" ");
    expect(failed.is_empty(), "no failed unit", &failed)?;
    // The clock is at least the image's epoch.
    machine.wait_for_console("fw_cfg was read in 20", SETTLED)?;
    // The login does not wait for the name that cloud-config sets.
    machine.wait_for_console("core@", SETTLED)?;
    let console = machine.console();
    expect(console.contains(" by odd"), "the name of the machine", &console)?;
    expect(console.contains("(automatic login)"), "an automatic login", &console)
}
