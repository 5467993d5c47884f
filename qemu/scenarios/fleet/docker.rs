//! The tutorials' own unit, which runs a container.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;

use super::super::kv::shows;
use super::cluster::form;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const DOCKER: Scenario = Scenario {
    name: "fleet-docker",
    about: "the tutorials' hello.service, as written, runs its container by fleetctl, and is stopped with it",
    on: &[Qemu],
    long_on: &[Qemu],
    user_data: Some(super::SAMPLE),
    run: docker,
    ..USUAL
};

/// Docker's first start, on an emulated machine.
const STARTED: Duration = Duration::from_secs(600);

fn docker(stage: &Stage<'_>) -> Result<(), Failure> {
    let members = form(stage)?;
    let Some(member) = members.first() else { return Ok(()) };
    let machine = &member.machine;
    let started = format!("Unit hello.service launched on {}\n", member.place());
    shows(machine, "fleetctl start /usr/share/keelson/examples/hello.service", &started)?;
    machine.wait_until_succeeds("fleetctl list-units | grep -P 'active\\trunning'", STARTED)?;
    machine.wait_until_succeeds("fleetctl journal hello.service | grep 'Hello World'", STARTED)?;
    let running = machine.succeed("docker ps --format '{{.Names}} {{.Image}}'")?;
    expect(running == "hello busybox\n", "its container", &running)?;
    shows(machine, "fleetctl stop hello.service", &started.replace("launched", "loaded"))?;
    machine.wait_until_succeeds("fleetctl list-units | grep -P 'inactive\\tdead'", STARTED)?;
    shows(machine, "docker ps --quiet", "")?;
    shows(machine, "fleetctl destroy hello.service", "Destroyed hello.service\n")?;
    shows(machine, "fleetctl list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}
