//! Machines whose fleetd does not run: their units are stopped before others may start them.

use machines::cluster::BackendKind::Qemu;

use super::super::kv::{NODES, SOON};
use super::beats::{Beats, FOLDER, Run, SERVICE, doubles};
use super::cluster::{Member, form_with, put, start_each, ttl, user_data, wait_for_machines};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const WITHOUT_FLEETD: Scenario = Scenario {
    name: "fleet-without-fleetd",
    about: "fleetd stopped without its units, or unable to start: they are stopped before others start them",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    shared: &[FOLDER],
    run: without_fleetd,
    ..USUAL
};

const EVERYWHERE: &str = "everywhere.service";
const FENCE: &str = "systemctl is-active fleet-fence.service";

fn without_fleetd(stage: &Stage<'_>) -> Result<(), Failure> {
    let settings = [format!("agent-ttl: {}s", ttl(stage).as_secs()), "purge-on-stop: false".to_owned()];
    let members = form_with(stage, &user_data(&settings, ""))?;
    let [one, two, three] = &members;
    let beats = Beats::new(&stage.shared(1));
    let typed = &three.machine;
    put(typed, "beat@.service", SERVICE)?;
    put(typed, EVERYWHERE, &format!("{SERVICE}\n[X-Fleet]\nGlobal=true\n"))?;
    start_each(typed, &[("beat@1", one), ("beat@2", two), ("beat@3", three)])?;
    typed.succeed("fleetctl start everywhere")?;
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    beats.wait(&(1..=NODES).map(beat).collect::<Vec<_>>(), &all, SOON)?;
    for id in &all {
        beats.wait(&[EVERYWHERE.to_owned()], &[id], SOON)?;
    }

    one.machine.fail(FENCE)?;
    one.machine.succeed("sudo systemctl stop fleet.service")?;
    taken_over(stage, &beats, &beat(1), one, &[two, three])?;
    back(one, &members)?;

    // It restarts and exits repeatedly.
    two.machine.succeed(
        "sudo mkdir -p /etc/fleet && echo etcd_cafile=/none.pem | sudo tee /etc/fleet/fleet.conf && \
         sudo systemctl restart --no-block fleet.service",
    )?;
    taken_over(stage, &beats, &beat(2), two, &[one, three])?;
    two.machine.succeed("sudo rm /etc/fleet/fleet.conf")?;
    back(two, &members)?;

    let runs = beats.runs()?;
    let global: Vec<_> = runs.iter().filter(|run| run.unit == EVERYWHERE).collect();
    expect(global.len() == NODES, "one process of the global unit on each machine", &format!("{global:?}"))
}

fn beat(number: usize) -> String {
    format!("beat@{number}.service")
}

/// Waits until the unit runs on another machine, and checks that it never ran twice.
fn taken_over(
    stage: &Stage<'_>,
    beats: &Beats,
    unit: &String,
    from: &Member<'_>,
    others: &[&Member<'_>],
) -> Result<(), Failure> {
    from.machine.wait_until_succeeds(FENCE, SOON)?;
    let others: Vec<_> = others.iter().map(|member| member.id.as_str()).collect();
    beats.wait(std::slice::from_ref(unit), &others, ttl(stage) + SOON)?;
    let mut runs = beats.runs()?;
    runs.retain(|run| run.unit != EVERYWHERE);
    let twice: Vec<_> =
        doubles(&runs).iter().flat_map(|(one, other)| [one.to_string(), other.to_string()]).collect();
    expect(twice.is_empty(), "no unit twice at a time", &twice.join("; "))?;
    let is_everywhere = |run: &Run| run.unit == EVERYWHERE && run.machine == from.id;
    expect(beats.alive()?.iter().any(is_everywhere), "a global unit to run on", "it was stopped")
}

/// Starts fleetd, which stops the fence.
fn back(member: &Member<'_>, members: &[Member<'_>]) -> Result<(), Failure> {
    member.machine.succeed("sudo systemctl start fleet.service")?;
    wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    member.machine.fail(FENCE)?;
    Ok(())
}
