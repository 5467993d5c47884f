//! An etcd member accepts connections and never answers: no fleetd may depend on it.

use std::time::Duration;

use machines::cluster::BackendKind::Nspawn;

use super::super::kv::{FORMED, NODES, SOON};
use super::cluster::{
    Member, beat_on_each, boot_each, into_array, start_each, user_data, wait_for_cluster, wait_for_machines,
};
use super::heartbeats::{FOLDER, Heartbeats};
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;

pub const MEMBER_HANGS: Scenario = Scenario {
    name: "fleet-member-hangs",
    about: "the member of etcd that a fleetd asks first hangs: units run on, and new ones start",
    nodes: NODES,
    // Only connections and timeouts of fleetd's client are tested: the back end makes no difference.
    on: &[Nspawn],
    shared: &[FOLDER],
    run: member_hangs,
    ..DEFAULTS
};

/// A heartbeat is due after half of it and units stop after two thirds: in between there is time for a request that
/// times out, an election and a second request. Longer on a slow host.
const PRESENCE: Duration = Duration::from_secs(20);

fn member_hangs(context: &Context<'_>) -> Result<(), Failure> {
    let presence = PRESENCE.mul_f64(slowdown());
    let members = form_each_with_another_first(context, presence)?;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let units = beat_on_each(&members, &heartbeats)?;
    let runs = heartbeats.alive()?;

    let hangs = context.machine(1);
    hangs.succeed("sudo systemctl service-watchdogs no")?;
    hangs.succeed("sudo systemctl kill --signal=STOP etcd.service")?;
    // A fleetd that uses only this member would stop its units by then; the others have etcd.
    std::thread::sleep(presence);
    heartbeats.undisturbed(&runs, "while a member hangs")?;
    let all: Vec<_> = members.iter().collect();
    for member in &members {
        wait_for_machines(&member.machine, &all)?;
    }
    let [first, second, _] = &members;
    start_each(&second.machine, &[("beat@4", first)])?;

    hangs.succeed("sudo systemctl kill --signal=CONT etcd.service")?;
    hangs.succeed("sudo systemctl service-watchdogs yes")?;
    hangs.wait_for_unit("etcd.service", FORMED)?;
    second.machine.wait_until_succeeds("etcdctl cluster-health", SOON)?;
    let everywhere: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    let all_units = [units, vec!["beat@4.service".to_owned()]].concat();
    heartbeats.wait(&all_units, &everywhere, SOON)?;
    heartbeats.never_twice()
}

/// Each fleetd is configured with all members, the next machine's first.
fn form_each_with_another_first<'a>(
    context: &Context<'a>,
    presence: Duration,
) -> Result<[Member<'a>; NODES], Failure> {
    let mut servers = Vec::new();
    for number in 1..=NODES {
        let machine = context.machine(number);
        servers.push((machine.name().to_owned(), format!("http://{}:4001", machine.node()?.address)));
    }
    boot_each(context, |name| {
        let at = servers.iter().position(|(other, _)| other == name).unwrap_or_default();
        let mut urls: Vec<_> = servers.iter().map(|(_, url)| url.clone()).collect();
        urls.rotate_left((at + 1) % NODES);
        let presence = format!("agent-ttl: {}s", presence.as_secs());
        user_data(&[presence, format!("etcd-servers: {}", urls.join(","))], "")
    })?;
    into_array(wait_for_cluster(context)?)
}
