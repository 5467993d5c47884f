//! The tutorials' unit that runs a container (D1).

use machines::cluster::BackendKind::Qemu;

use super::super::docker::STARTED;
use super::super::kv::{NODES, expect_output};
use super::cluster::{FLEETCTL, Member, form_three, member_of, put};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DOCKER: Scenario = Scenario {
    name: "fleet-docker",
    about: "units of the tutorials' kind run their containers on three machines by fleetctl, and are stopped with them (D1)",
    nodes: NODES,
    on: &[Qemu],
    long_on: &[Qemu],
    user_data: Some(super::TUTORIAL),
    run: docker,
    ..DEFAULTS
};

/// The tutorials' unit, once on each machine.
const UNIT: &str = r#"[Unit]
Description=My Service
After=docker.service
Requires=docker.service

[Service]
TimeoutStartSec=0
ExecStartPre=-/usr/bin/docker kill %p
ExecStartPre=-/usr/bin/docker rm %p
ExecStartPre=-/usr/bin/docker pull busybox
ExecStart=/usr/bin/docker run --name %p busybox /bin/sh -c "trap 'exit 0' INT TERM; while true; do echo Hello World; sleep 1; done"
ExecStop=/usr/bin/docker stop %p

[X-Fleet]
Conflicts=app*.service
"#;
const UNITS: [&str; NODES] = ["app1", "app2", "app3"];

fn docker(context: &Context<'_>) -> Result<(), Failure> {
    let members = form_three(context)?;
    tour(&members)?;
    on_each_machine(&members)
}

/// The image's own example.
fn tour(members: &[Member<'_>]) -> Result<(), Failure> {
    let client = &members[0].machine;
    let launched = client.succeed("fleetctl start /usr/share/keelson/examples/tour.service")?;
    let member = member_of(client, members, "tour.service")?;
    let machine = &member.machine;
    let started = format!("Unit tour.service launched on {}\n", member.location());
    expect(launched == started, &started, &launched)?;
    client.wait_until_succeeds("fleetctl list-units | grep -P 'active\\trunning'", STARTED)?;
    machine.wait_until_succeeds("fleetctl journal tour.service | grep 'Hello World'", STARTED)?;
    let running = machine.succeed("docker ps --format '{{.Names}} {{.Image}}'")?;
    expect(running == "tour busybox\n", "its container", &running)?;
    expect_output(client, "fleetctl stop tour.service", &started.replace("launched", "loaded"))?;
    // The tutorials' shell ignores SIGTERM, and docker kills it after ten seconds. Its client exits with that code,
    // a failure, or by systemd's SIGTERM: a race in the original too.
    let ended = "fleetctl list-units | grep -P '(inactive\\tdead|failed\\tfailed)'";
    client.wait_until_succeeds(ended, STARTED)?;
    expect_output(machine, "docker ps --quiet", "")?;
    expect_output(client, "fleetctl destroy tour.service", "Destroyed tour.service\n")?;
    expect_output(client, "fleetctl list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}

fn on_each_machine(members: &[Member<'_>]) -> Result<(), Failure> {
    let client = &members[0].machine;
    for unit in UNITS {
        put(client, &format!("{unit}.service"), UNIT)?;
    }
    client.succeed(&format!("{FLEETCTL} start {}", UNITS.join(" ")))?;
    let mut used = Vec::new();
    for unit in UNITS {
        let name = format!("{unit}.service");
        let member = member_of(client, members, &name)?;
        let running = format!("docker ps --format '{{{{.Names}}}}' | grep -x {unit}");
        member.machine.wait_until_succeeds(&running, STARTED)?;
        member.machine.wait_until_succeeds(&format!("journalctl -u {name} | grep 'Hello World'"), STARTED)?;
        used.push(&member.id);
    }
    used.sort_unstable();
    used.dedup();
    expect(used.len() == NODES, "a container on each machine", &used.len().to_string())?;
    client.succeed(&format!("{FLEETCTL} destroy {}", UNITS.join(" ")))?;
    for member in members {
        member.machine.wait_until_succeeds("! docker ps --quiet | grep .", STARTED)?;
    }
    Ok(())
}
