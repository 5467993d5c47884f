//! Rows A1, A2 and A4: the tutorials' user-data, with a discovery token, boots a cluster of three machines.

use std::path::Path;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::cluster::boot_each;
use super::super::kv::{FORMED, NODES, SOON, health};
use super::host::{Discovery, log_in, new_key};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const ETCD: Scenario = Scenario {
    name: "etcd-tutorial",
    about: "the tutorials' user-data boots three machines with its names and keys, which find each other by a token, also \
            where fleet is listed first (A1, A2, A4)",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: etcd,
    ..DEFAULTS
};

pub const ETCD2: Scenario = Scenario {
    name: "etcd2-tutorial",
    about: "the same with the user-data of 2015: etcd2, fleet's metadata, docker's API on a port (A1, A2, A4)",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: etcd2,
    ..DEFAULTS
};

/// Placeholders in the tutorials' files that every reader replaces.
const NAME: &str = "coreos0";
const KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQD core@example";
const URL: &str = "https://discovery.example/TOKEN";

fn etcd(context: &Context<'_>) -> Result<(), Failure> {
    let text = include_str!("../../user-data/tutorial.yaml");
    let [store_first, fleet_first] = [["etcd", "fleet"], ["fleet", "etcd"]].map(|units| {
        units.map(|unit| format!("    - name: {unit}.service\n      command: start\n")).concat()
    });
    expect(text.contains(&store_first), &store_first, text)?;
    // In this order fleet's start waits for etcd, and etcd's start for fleet's.
    let odd = text.replace(&store_first, &fleet_first);
    let machines = form(context, |name| if name == "core-02" { &odd } else { text }, "etcd")?;
    health(context, &machines[0])
}

fn etcd2(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context, |_| include_str!("../../user-data/tutorial-etcd2.yaml"), "etcd2")?;
    health(context, &machines[0])?;
    let listed = machines[0].succeed("fleetctl list-machines --no-legend --fields=metadata")?;
    expect(listed == "region=tutorial\n".repeat(NODES), "the metadata of all machines", &listed)?;
    let version = machines[1].wait_until_succeeds("curl -sf http://127.0.0.1:2375/version", SOON)?;
    expect(version.contains("\"ApiVersion\""), "docker's answer on its port", &version)
}

/// Boots one cluster, each machine with its file's text, and checks it; `unit` is etcd's unit name.
fn form<'a, 't>(
    context: &Context<'a>,
    text: impl Fn(&str) -> &'t str,
    unit: &str,
) -> Result<Vec<Machine<'a>>, Failure> {
    let discovery = Discovery::start(context)?;
    let (any, token) = (discovery.open("/new")?, discovery.open(&format!("/new?size={NODES}"))?);
    expect(any != token, "a fresh token each time", &token)?;
    let (key_file, key) = new_key(context.site.layout().root())?;
    let own = |machine: &str| {
        // The names differ from those of the metadata.
        let name = machine.replace("core-", "coreos");
        text(machine).replace(NAME, &name).replace(KEY, &key).replace(URL, token.trim())
    };
    let first = text("core-01");
    for what in [NAME, KEY, URL] {
        expect(first.contains(what), what, first)?;
    }
    boot_each(context, own)?;
    let machines: Vec<_> = (1..=NODES).map(|number| context.machine(number)).collect();
    for machine in &machines {
        check_machine(machine, unit, &key_file)?;
    }
    let path = token.trim().rsplit('/').next().unwrap_or_default();
    let registered = discovery.open(&format!("/{path}"))?;
    expect(registered.matches("\"value\":").count() == NODES, "all members at the token's URL", &registered)?;
    Ok(machines)
}

fn check_machine(machine: &Machine<'_>, unit: &str, key: &Path) -> Result<(), Failure> {
    let name = machine.name().replace("core-", "coreos");
    for unit in [unit, "fleet"] {
        machine.wait_for_unit(&format!("{unit}.service"), FORMED)?;
    }
    let output = log_in(machine, "core", key, "hostname")?;
    expect(output.trim() == name, &name, &output)?;
    let status = machine.succeed(&format!("systemctl status --no-pager {unit} fleet"))?;
    let active =
        status.lines().filter(|line| line.trim_start().starts_with("Active: active (running)")).count();
    expect(active == 2, "both active, by the names that were typed", &status)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    machine.wait_until_succeeds(&format!("etcdctl member list | grep -F 'name={name} '"), SOON)?;
    let all = format!("test $(fleetctl list-machines --no-legend | wc -l) = {NODES}");
    machine.wait_until_succeeds(&all, SOON)?;
    Ok(())
}
