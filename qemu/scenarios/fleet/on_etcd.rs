//! fleet with Debian's etcd instead of ours, of a version that serves both key APIs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use machines::cluster::BackendKind::{Nspawn, Qemu};

use super::super::kv::NODES;
use super::cluster::{Member, form_with};
use super::commands;
use super::functional::fixture::Fixture;
use super::functional::{self, fixture};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const ON_ETCD: Scenario = Scenario {
    name: "fleet-on-etcd",
    about: "with Debian's etcd as the store fleetctl does what the tutorials type, as with ours",
    nodes: NODES,
    shared: &[FOLDER],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: on_etcd,
    ..DEFAULTS
};

/// Path of the program; `cargo verify` downloads it and sets this.
const VARIABLE: &str = "KEELSON_REFERENCE_ETCD";
const INSTALLED: &str = "/usr/bin/etcd";
/// Guest path of the folder with the program.
const FOLDER: &str = "/home/core/reference";

fn program() -> Result<PathBuf, Failure> {
    let path = std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(INSTALLED), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::Unavailable(format!("there is no {}: {VARIABLE} can name Debian's etcd", path.display())))
}

fn on_etcd(context: &Context<'_>) -> Result<(), Failure> {
    copy_program(&context.shared(1))?;
    let members = form_with(context, &user_data(context, &[], "")?)?;
    members.iter().try_for_each(serves)?;
    commands::run_all(context, &members)?;
    members.iter().try_for_each(serves)
}

pub const FUNCTIONAL: Scenario = Scenario {
    name: "fleet-etcd-functional",
    about: "the original's functional tests of clients, units and their places hold with Debian's etcd too",
    shared: &[fixture::UNITS, FOLDER],
    long_on: &[Nspawn, Qemu],
    by_name_on: &[],
    run: functional_on_etcd,
    ..ON_ETCD
};

fn functional_on_etcd(context: &Context<'_>) -> Result<(), Failure> {
    copy_program(&context.shared(2))?;
    let texts = (1..=NODES).map(|number| {
        let name = context.machine(number).name().to_owned();
        Ok((name.clone(), user_data(context, &functional::settings(context, &name), fixture::API)?))
    });
    let texts = texts.collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let fixture = Fixture::form(context, |name| texts.get(name).cloned().unwrap_or_default())?;
    fixture.members.iter().try_for_each(serves)?;
    functional::on_three(&fixture)
}

/// Copies the program into the shared folder.
fn copy_program(folder: &Path) -> Result<(), Failure> {
    let (from, to) = (program()?, folder.join("etcd"));
    std::fs::copy(&from, &to).map_err(|source| Failure::Disk { path: to, source })?;
    Ok(())
}

/// Replaces our unit under its name; with additional lines below `coreos.fleet`, and additional units.
fn user_data(context: &Context<'_>, fleet: &[String], units: &str) -> Result<String, Failure> {
    let mut peers = Vec::new();
    for number in 1..=NODES {
        let node = context.machine(number).node()?;
        peers.push(format!("{}=http://{}:2380", node.name, node.address));
    }
    let unit = format!(
        "    - name: etcd.service
      content: |
        [Unit]
        Description=Debian's etcd
        [Service]
        Type=notify
        StateDirectory=reference
        Restart=always
        TimeoutStartSec=infinity
        ExecStart={FOLDER}/etcd --enable-v2 --name %H --data-dir /var/lib/reference \\
          --initial-cluster {} --initial-advertise-peer-urls http://$private_ipv4:2380 \\
          --listen-peer-urls http://0.0.0.0:2380 --advertise-client-urls http://$private_ipv4:2379 \\
          --listen-client-urls http://0.0.0.0:2379,http://0.0.0.0:4001
      command: start
    - name: fleet.service
      command: start
",
        peers.join(",")
    );
    let fleet: String = fleet.iter().map(|line| format!("    {line}\n")).collect();
    Ok(format!(
        "#cloud-config\ncoreos:\n  fleet:\n    public-ip: $private_ipv4\n    \
         etcd-servers: http://$private_ipv4:2379\n{fleet}  units:\n{units}{unit}"
    ))
}

/// Checks that this program serves etcd's port.
fn serves(member: &Member<'_>) -> Result<(), Failure> {
    let program = format!("{FOLDER}/etcd --version | sed -n 's/^etcd Version: //p'");
    let version = member.machine.succeed(&program)?;
    expect(version.starts_with("3."), "a version of etcd", &version)?;
    let served = member.machine.succeed("curl -s http://127.0.0.1:2379/version | jq -r .etcdserver")?;
    expect(served == version, &format!("etcd {version}"), &served)
}
