//! Machines whose fleetd does not run: their units are stopped before others may start them.

use machines::cluster::BackendKind::Qemu;

use super::super::kv::{NODES, SOON};
use super::cluster::{Member, form_with, put, start_each, ttl, user_data, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, Run, SERVICE, doubles};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const WITHOUT_FLEETD: Scenario = Scenario {
    name: "fleet-without-fleetd",
    about: "fleetd stopped without its units, or unable to start: they are stopped before others start them",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    shared: &[FOLDER],
    run: without_fleetd,
    ..DEFAULTS
};

const EVERYWHERE: &str = "everywhere.service";
const FENCE: &str = "systemctl is-active fleet-fence.service";

fn without_fleetd(context: &Context<'_>) -> Result<(), Failure> {
    let settings = [format!("agent-ttl: {}s", ttl(context).as_secs()), "purge-on-stop: false".to_owned()];
    let members = form_with(context, &user_data(&settings, ""))?;
    let [one, two, three] = &members;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let client = &three.machine;
    put(client, "beat@.service", SERVICE)?;
    put(client, EVERYWHERE, &format!("{SERVICE}\n[X-Fleet]\nGlobal=true\n"))?;
    start_each(client, &[("beat@1", one), ("beat@2", two), ("beat@3", three)])?;
    client.succeed("fleetctl start everywhere")?;
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(&(1..=NODES).map(beat).collect::<Vec<_>>(), &all, SOON)?;
    for id in &all {
        heartbeats.wait(&[EVERYWHERE.to_owned()], &[id], SOON)?;
    }

    one.machine.fail(FENCE)?;
    one.machine.succeed("sudo systemctl stop fleet.service")?;
    wait_for_failover(context, &heartbeats, &beat(1), one, &[two, three])?;
    restart_fleetd(one, &members)?;

    // It restarts and exits repeatedly.
    two.machine.succeed(
        "sudo mkdir -p /etc/fleet && echo etcd_cafile=/none.pem | sudo tee /etc/fleet/fleet.conf && \
         sudo systemctl restart --no-block fleet.service",
    )?;
    wait_for_failover(context, &heartbeats, &beat(2), two, &[one, three])?;
    two.machine.succeed("sudo rm /etc/fleet/fleet.conf")?;
    restart_fleetd(two, &members)?;

    let runs = heartbeats.runs()?;
    let global: Vec<_> = runs.iter().filter(|run| run.unit == EVERYWHERE).collect();
    expect(global.len() == NODES, "one process of the global unit on each machine", &format!("{global:?}"))
}

fn beat(number: usize) -> String {
    format!("beat@{number}.service")
}

/// Waits until the unit runs on another machine, and checks that it never ran twice.
fn wait_for_failover(
    context: &Context<'_>,
    heartbeats: &Heartbeats,
    unit: &String,
    from: &Member<'_>,
    others: &[&Member<'_>],
) -> Result<(), Failure> {
    from.machine.wait_until_succeeds(FENCE, SOON)?;
    let others: Vec<_> = others.iter().map(|member| member.id.as_str()).collect();
    heartbeats.wait(std::slice::from_ref(unit), &others, ttl(context) + SOON)?;
    let mut runs = heartbeats.runs()?;
    runs.retain(|run| run.unit != EVERYWHERE);
    let twice: Vec<_> =
        doubles(&runs).iter().flat_map(|(one, other)| [one.to_string(), other.to_string()]).collect();
    expect(twice.is_empty(), "no unit twice at a time", &twice.join("; "))?;
    let is_everywhere = |run: &Run| run.unit == EVERYWHERE && run.machine == from.id;
    expect(heartbeats.alive()?.iter().any(is_everywhere), "a global unit to run on", "it was stopped")
}

/// Starts fleetd, which stops the fence. `start` would join a start attempt that has read another configuration.
fn restart_fleetd(member: &Member<'_>, members: &[Member<'_>]) -> Result<(), Failure> {
    member.machine.succeed("sudo systemctl restart fleet.service")?;
    wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    member.machine.fail(FENCE)?;
    Ok(())
}
