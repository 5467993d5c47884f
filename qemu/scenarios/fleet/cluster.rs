//! Machines that are one cluster of fleetd, as fleetctl names them.

use std::time::Duration;

use machines::cluster::BackendKind;
use machines::machine::Machine;
use machines::ready::Mark;
use machines::site::Site;

use super::super::kv::{FORMED, NODES, SOON, shows};
use super::beats::{Beats, SERVICE};
use crate::calibration::{Limit, Slowdown};
use crate::failure::{Failure, expect};
use crate::scenario::Stage;

/// A machine of the cluster.
pub struct Member<'a> {
    pub machine: Machine<'a>,
    pub id: String,
    pub address: String,
}

impl Member<'_> {
    /// The first characters of its id, which name it.
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }

    /// As tables and answers show it: `8145ebb7.../10.77.0.12`.
    pub fn place(&self) -> String {
        format!("{}.../{}", self.short(), self.address)
    }
}

/// How long a machine is believed to be there: short where machines are fast, and scenarios have to be.
pub fn ttl(stage: &Stage<'_>) -> Duration {
    match stage.backend {
        BackendKind::Nspawn => Duration::from_secs(6),
        BackendKind::Qemu => Duration::from_secs(30),
    }
}

/// How long the engine's lease lives: five times the default `engine_reconcile_interval`.
const LEASE: Duration = Duration::from_secs(10);
/// Beyond TTL and lease, until the last unit of a machine that is unreachable runs elsewhere.
const GRACE: Limit = Limit { promised: Duration::from_secs(1), emulated: Duration::from_secs(15) };

/// From the moment that a machine is unreachable to the start of its last unit elsewhere. If it held the engine's
/// lease, that has to end as well.
pub fn taken_over(stage: &Stage<'_>, slowdown: Slowdown) -> Duration {
    ttl(stage).max(LEASE) + GRACE.on(stage, slowdown, "units elsewhere after TTL or lease")
}

/// Cloud-config of a machine with etcd and fleet: lines below `coreos.fleet`, and further units.
pub fn user_data(fleet: &[String], units: &str) -> String {
    let fleet: String = fleet.iter().map(|line| format!("    {line}\n")).collect();
    format!(
        "#cloud-config\ncoreos:\n  etcd:\n    addr: $private_ipv4:4001\n    peer-addr: $private_ipv4:7001\n  \
         fleet:\n    public-ip: $private_ipv4\n{fleet}  units:\n{units}    - name: etcd.service\n      \
         command: start\n    - name: fleet.service\n      command: start\n"
    )
}

/// The same where machines are soon taken for dead.
pub fn impatient(stage: &Stage<'_>) -> String {
    user_data(&[format!("agent-ttl: {}s", ttl(stage).as_secs())], "")
}

/// Boots the machines and waits until each sees all; in the order of their ids, which is the scheduler's.
pub fn form<'a>(stage: &Stage<'a>) -> Result<Vec<Member<'a>>, Failure> {
    stage.boot()?;
    meet(stage)
}

/// Boots all machines at once, each with user-data of its own: by the machine's name.
pub fn boot_each(stage: &Stage<'_>, user_data: impl Fn(&str) -> String) -> Result<(), Failure> {
    let machines: Vec<_> =
        (1..=stage.site.cluster().nodes.len()).map(|number| stage.machine(number)).collect();
    for machine in &machines {
        stage.site.set_user_data(user_data(machine.name()).as_bytes())?;
        machine.power_on()?;
    }
    for machine in &machines {
        stage.site.wait_ready(machine.name(), &Mark::default(), stage.site.default_limit())?;
    }
    Ok(())
}

/// Waits until each of the running machines sees all; in the order of their ids, which is the scheduler's.
pub fn meet<'a>(stage: &Stage<'a>) -> Result<Vec<Member<'a>>, Failure> {
    let nodes = stage.site.cluster().nodes.len();
    let mut members = Vec::new();
    for number in 1..=nodes {
        let machine = stage.machine(number);
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

/// Three of them, with user-data of this moment.
pub fn form_with<'a>(stage: &Stage<'a>, user_data: &str) -> Result<[Member<'a>; NODES], Failure> {
    stage.site.set_user_data(user_data.as_bytes())?;
    three(stage)
}

pub fn three<'a>(stage: &Stage<'a>) -> Result<[Member<'a>; NODES], Failure> {
    all_three(form(stage)?)
}

pub fn all_three(members: Vec<Member<'_>>) -> Result<[Member<'_>; NODES], Failure> {
    let number = members.len();
    members.try_into().map_err(|_| Failure::Expected(format!("expected {NODES} machines; seen: {number}")))
}

/// Until this machine's fleetd lists these machines and no others.
pub fn wait_for_machines(asked: &Machine<'_>, members: &[&Member<'_>]) -> Result<(), Failure> {
    let mut ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    ids.sort_unstable();
    let list = "fleetctl list-machines --full --no-legend --fields=machine";
    asked.wait_until_succeeds(&format!("test \"$({list} | xargs)\" = '{}'", ids.join(" ")), SOON)?;
    Ok(())
}

/// Where each unit is, as `UNIT ID ACTIVE` a line.
const PLACES: &str = "fleetctl list-units --full --no-legend --fields=unit,machine,active | sed 's#/[0-9.]*##' | \
    tr -s '\\t' ' '";

/// Until these services are where they should be, and active; each once, and no others.
pub fn wait_for_places(asked: &Machine<'_>, wanted: &[(&str, &Member<'_>)]) -> Result<(), Failure> {
    let mut lines: Vec<_> =
        wanted.iter().map(|(unit, member)| format!("{unit}.service {} active", member.id)).collect();
    lines.sort();
    let check = format!("seen=$({PLACES}); echo \"$seen\"; test \"$seen\" = '{}'", lines.join("\n"));
    asked.wait_until_succeeds(&check, SOON)?;
    Ok(())
}

/// The table of `list-machines`, of machines without metadata.
pub fn list_machines(members: &[Member<'_>]) -> String {
    let rows = members.iter().map(|member| format!("{}...\t{}\t-\n", member.short(), member.address));
    ["MACHINE\t\tIP\t\tMETADATA\n".to_owned()].into_iter().chain(rows).collect()
}

/// Puts the cluster's own key where [`with_agent`] takes it.
pub fn bring_key(site: &Site, machine: &Machine<'_>) -> Result<(), Failure> {
    let path = site.layout().key();
    let key = std::fs::read(&path).map_err(|source| Failure::Disk { path, source })?;
    machine.write("/run/key", &key)?;
    machine.succeed("sudo install -m 0600 -o core /run/key ~/key && sudo rm /run/key")?;
    Ok(())
}

/// A command with the cluster's key in an agent, as a user has who logged in with his own forwarded.
pub fn with_agent(command: &str) -> String {
    format!("ssh-agent bash -c 'ssh-add -q ~/key && {command}'")
}

/// Puts a unit's file where `core` types its commands.
pub fn put(machine: &Machine<'_>, name: &str, text: &str) -> Result<(), Failure> {
    Ok(machine.write(&format!("/home/core/{name}"), text.as_bytes())?)
}

/// Starts units one after the other, and compares where they are said to be.
pub fn start_each(asked: &Machine<'_>, wanted: &[(&str, &Member<'_>)]) -> Result<(), Failure> {
    let units: Vec<_> = wanted.iter().map(|(unit, _)| *unit).collect();
    let lines =
        wanted.iter().map(|(unit, member)| format!("Unit {unit}.service launched on {}\n", member.place()));
    // An emulated machine on a busy host may take longer than the usual three seconds to answer.
    let start = "fleetctl --request-timeout=60 start $unit";
    let each = format!("for unit in {}; do {start} || exit 1; done", units.join(" "));
    shows(asked, &each, &lines.collect::<String>())
}

/// A unit on each machine that writes down when it runs: their names.
pub fn beat_on_each(members: &[Member<'_>; NODES], beats: &Beats) -> Result<Vec<String>, Failure> {
    let [first, second, third] = members;
    put(&second.machine, "beat@.service", SERVICE)?;
    start_each(&second.machine, &[("beat@1", first), ("beat@2", second), ("beat@3", third)])?;
    let names: Vec<_> = (1..=NODES).map(|number| format!("beat@{number}.service")).collect();
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    beats.wait(&names, &all, SOON)?;
    Ok(names)
}
