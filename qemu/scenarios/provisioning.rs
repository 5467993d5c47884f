//! User-data that is right, and is followed to the letter; and user-data that is wrong: it is said where, and
//! the rest of the machine works.

use std::time::Duration;

use machines::cluster::BackendKind::{Nspawn, Qemu};

use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage};

/// How long the network and the certificates may take to follow their files.
const SETTLED: Duration = Duration::from_secs(120);

pub const NETWORK_AND_TRUST: Scenario = Scenario {
    name: "network-and-trust",
    about: "cloud-config sets the host name, static IPv4 and IPv6 addresses, a proxy and a trusted certificate",
    nodes: 1,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: Some(include_str!("../user-data/network.yaml")),
    run: network_and_trust,
};

fn network_and_trust(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
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
    nodes: 1,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: Some(BAD),
    run: bad_user_data,
};

fn bad_user_data(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
    // That this runs at all shows that the key of the config drive's metadata was taken.
    let journal = machine.succeed("sudo journalctl --no-pager -b | grep -i cloudinit")?;
    let named = journal.to_lowercase().lines().any(|line| line.contains("line 4"));
    expect(named, "the journal to name line 4 of the user-data", &journal)
}
