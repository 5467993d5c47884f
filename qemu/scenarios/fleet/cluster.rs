//! Machines that form one fleet cluster.

use std::time::Duration;

use machines::cluster::BackendKind;
use machines::machine::Machine;
use machines::ready::Mark;
use machines::site::Site;

use super::super::kv::{FORMED, NODES, SOON, expect_output};
use super::heartbeats::{Heartbeats, SERVICE};
use crate::calibration::{Limit, Slowdown};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// An emulated machine on a busy host may need longer than the default three seconds.
pub const FLEETCTL: &str = "fleetctl --request-timeout=60";

/// A machine of the cluster.
pub struct Member<'a> {
    pub machine: Machine<'a>,
    pub id: String,
    pub address: String,
}

impl Member<'_> {
    /// The short form of its id.
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }

    /// As fleetctl prints it: `8145ebb7.../10.77.0.12`.
    pub fn location(&self) -> String {
        format!("{}.../{}", self.short(), self.address)
    }
}

/// The presence TTL of a machine: short where machines are fast, to keep scenarios short.
pub fn ttl(context: &Context<'_>) -> Duration {
    match context.backend {
        BackendKind::Nspawn => Duration::from_secs(6),
        BackendKind::Qemu => Duration::from_secs(30),
    }
}

/// TTL of the engine's lease: five times the default `engine_reconcile_interval`.
const LEASE: Duration = Duration::from_secs(10);
/// Margin beyond TTL and lease for starting the last unit of an unreachable machine elsewhere.
const GRACE: Limit = Limit { promised: Duration::from_secs(1), emulated: Duration::from_secs(15) };

/// Limit from the loss of a machine to the start of its last unit elsewhere. The engine's lease has to expire too
/// if that machine held it.
pub fn failover_limit(context: &Context<'_>, slowdown: Slowdown) -> Duration {
    ttl(context).max(LEASE) + GRACE.on(context, slowdown, "units elsewhere after TTL or lease")
}

/// Cloud-config of a machine with etcd and fleet: lines below `coreos.fleet`, and additional units.
pub fn user_data(fleet: &[String], units: &str) -> String {
    let fleet: String = fleet.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "#cloud-config\ncoreos:\n  etcd:\n    addr: $private_ipv4:4001\n    peer-addr: $private_ipv4:7001\n  \
         fleet:\n    public-ip: $private_ipv4\n{fleet}  units:\n{units}    - name: etcd.service\n      \
         command: start\n    - name: fleet.service\n      command: start\n"
    )
}

/// The same with a short presence TTL.
pub fn impatient(context: &Context<'_>) -> String {
    user_data(&[format!("agent-ttl: {}s", ttl(context).as_secs())], "")
}

/// Boots the machines and waits until each lists all; sorted by id, as the scheduler does.
pub fn form<'a>(context: &Context<'a>) -> Result<Vec<Member<'a>>, Failure> {
    context.boot()?;
    wait_for_cluster(context)
}

/// Boots all machines concurrently, each with user-data by its name.
pub fn boot_each(context: &Context<'_>, user_data: impl Fn(&str) -> String) -> Result<(), Failure> {
    let machines: Vec<_> =
        (1..=context.site.cluster().nodes.len()).map(|number| context.machine(number)).collect();
    for machine in &machines {
        context.site.set_user_data(user_data(machine.name()).as_bytes())?;
        machine.power_on()?;
    }
    for machine in &machines {
        context.site.wait_ready(machine.name(), &Mark::default(), context.site.default_limit())?;
    }
    Ok(())
}

/// Waits until each running machine lists all; sorted by id, as the scheduler does.
pub fn wait_for_cluster<'a>(context: &Context<'a>) -> Result<Vec<Member<'a>>, Failure> {
    let nodes = context.site.cluster().nodes.len();
    let mut members = Vec::new();
    for number in 1..=nodes {
        let machine = context.machine(number);
        let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
        expect(failed.trim().is_empty(), "no failed unit", &failed)?;
        for unit in ["etcd.service", "fleet.service"] {
            machine.wait_for_unit(unit, FORMED)?;
        }
        let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
        let address = machine.node()?.address.to_string();
        members.push(Member { machine, id, address });
    }
    members.sort_by(|one, other| one.id.cmp(&other.id));
    for member in &members {
        wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    }
    Ok(members)
}

/// Boots three machines with this user-data.
pub fn form_with<'a>(context: &Context<'a>, user_data: &str) -> Result<[Member<'a>; NODES], Failure> {
    context.site.set_user_data(user_data.as_bytes())?;
    form_three(context)
}

pub fn form_three<'a>(context: &Context<'a>) -> Result<[Member<'a>; NODES], Failure> {
    into_array(form(context)?)
}

pub fn into_array(members: Vec<Member<'_>>) -> Result<[Member<'_>; NODES], Failure> {
    let number = members.len();
    members.try_into().map_err(|_| Failure::Expected(format!("expected {NODES} machines; seen: {number}")))
}

/// Waits until this machine's fleetd lists exactly these machines.
pub fn wait_for_machines(queried: &Machine<'_>, members: &[&Member<'_>]) -> Result<(), Failure> {
    let mut ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    let list = "fleetctl list-machines --full --no-legend --fields=machine";
    queried.wait_until_succeeds(&format!("test \"$({list} | xargs)\" = '{}'", ids.join(" ")), SOON)?;
    Ok(())
}

/// Prints `UNIT ID ACTIVE` for each unit.
const PLACEMENT: &str = "fleetctl list-units --full --no-legend --fields=unit,machine,active | sed 's#/[0-9.]*##' | \
    tr -s '\\t' ' '";

/// Waits until exactly these services are active, each on its machine.
pub fn wait_for_placement(queried: &Machine<'_>, wanted: &[(&str, &Member<'_>)]) -> Result<(), Failure> {
    let mut lines: Vec<_> =
        wanted.iter().map(|(unit, member)| format!("{unit}.service {} active", member.id)).collect();
    lines.sort();
    let check = format!("seen=$({PLACEMENT}); echo \"$seen\"; test \"$seen\" = '{}'", lines.join("\n"));
    queried.wait_until_succeeds(&check, SOON)?;
    Ok(())
}

/// The output of `list-machines` for machines without metadata.
pub fn list_machines(members: &[Member<'_>]) -> String {
    let rows = members.iter().map(|member| format!("{}...\t{}\t-\n", member.short(), member.address));
    ["MACHINE\t\tIP\t\tMETADATA\n".to_owned()].into_iter().chain(rows).collect()
}

/// Copies the cluster's private key to where [`with_agent`] expects it.
pub fn copy_key(site: &Site, machine: &Machine<'_>) -> Result<(), Failure> {
    let path = site.layout().key();
    let key = std::fs::read(&path).map_err(|source| Failure::Disk { path, source })?;
    machine.write("/run/key", &key)?;
    machine.succeed("sudo install -m 0600 -o core /run/key ~/key && sudo rm /run/key")?;
    Ok(())
}

/// Wraps a command in an ssh-agent with the cluster's key, as agent forwarding provides it.
pub fn with_agent(command: &str) -> String {
    format!("ssh-agent bash -c 'ssh-add -q ~/key && {command}'")
}

/// Writes a unit file to the home folder of `core`.
pub fn put(machine: &Machine<'_>, name: &str, text: &str) -> Result<(), Failure> {
    Ok(machine.write(&format!("/home/core/{name}"), text.as_bytes())?)
}

/// The machine that runs a unit.
pub fn member_of<'a, 'm>(
    queried: &Machine<'_>,
    members: &'m [Member<'a>],
    unit: &str,
) -> Result<&'m Member<'a>, Failure> {
    let list = "fleetctl list-units --full --no-legend --fields=unit,machine";
    let listed = queried.succeed(&format!("{list} | grep '^{unit}'"))?;
    let found = members.iter().find(|member| listed.contains(&member.id));
    found.ok_or_else(|| Failure::Expected(format!("the machine of {unit}; seen: {listed}")))
}

/// Starts units one after the other, and checks their machines.
pub fn start_each(queried: &Machine<'_>, wanted: &[(&str, &Member<'_>)]) -> Result<(), Failure> {
    let units: Vec<_> = wanted.iter().map(|(unit, _)| *unit).collect();
    let lines = wanted
        .iter()
        .map(|(unit, member)| format!("Unit {unit}.service launched on {}\n", member.location()));
    let each = format!("for unit in {}; do {FLEETCTL} start $unit || exit 1; done", units.join(" "));
    expect_output(queried, &each, &lines.collect::<String>())
}

/// Starts a recording unit on each machine and returns their names.
pub fn beat_on_each(members: &[Member<'_>; NODES], heartbeats: &Heartbeats) -> Result<Vec<String>, Failure> {
    let [first, second, third] = members;
    put(&second.machine, "beat@.service", SERVICE)?;
    start_each(&second.machine, &[("beat@1", first), ("beat@2", second), ("beat@3", third)])?;
    let names: Vec<_> = (1..=NODES).map(|number| format!("beat@{number}.service")).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&names, &all, SOON)?;
    Ok(names)
}
