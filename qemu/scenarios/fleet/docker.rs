//! The tutorials' unit that runs a container.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;

use super::super::kv::shows;
use super::cluster::form;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const DOCKER: Scenario = Scenario {
    name: "fleet-docker",
    about: "a unit of the tutorials' kind runs its container by fleetctl, and is stopped with it",
    on: &[Qemu],
    long_on: &[Qemu],
    user_data: Some(super::TUTORIAL),
    run: docker,
    ..USUAL
};

/// Limit for Docker's first start on an emulated machine.
const STARTED: Duration = Duration::from_secs(600);

fn docker(stage: &Stage<'_>) -> Result<(), Failure> {
    let members = form(stage)?;
    let Some(member) = members.first() else { return Ok(()) };
    let machine = &member.machine;
    let started = format!("Unit tour.service launched on {}\n", member.place());
    shows(machine, "fleetctl start /usr/share/keelson/examples/tour.service", &started)?;
    machine.wait_until_succeeds("fleetctl list-units | grep -P 'active\\trunning'", STARTED)?;
    machine.wait_until_succeeds("fleetctl journal tour.service | grep 'Hello World'", STARTED)?;
    let running = machine.succeed("docker ps --format '{{.Names}} {{.Image}}'")?;
    expect(running == "tour busybox\n", "its container", &running)?;
    shows(machine, "fleetctl stop tour.service", &started.replace("launched", "loaded"))?;
    // The tutorials' shell ignores SIGTERM, and docker kills it after ten seconds. Its client exits with that code,
    // a failure, or by systemd's SIGTERM: a race in the original too.
    let ended = "fleetctl list-units | grep -P '(inactive\\tdead|failed\\tfailed)'";
    machine.wait_until_succeeds(ended, STARTED)?;
    shows(machine, "docker ps --quiet", "")?;
    shows(machine, "fleetctl destroy tour.service", "Destroyed tour.service\n")?;
    shows(machine, "fleetctl list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}
