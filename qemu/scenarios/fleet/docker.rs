//! The tutorials' unit that runs a container.

use machines::cluster::BackendKind::Qemu;

use super::super::docker::STARTED;
use super::super::kv::expect_output;
use super::cluster::form;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DOCKER: Scenario = Scenario {
    name: "fleet-docker",
    about: "a unit of the tutorials' kind runs its container by fleetctl, and is stopped with it",
    on: &[Qemu],
    long_on: &[Qemu],
    user_data: Some(super::TUTORIAL),
    run: docker,
    ..DEFAULTS
};

fn docker(context: &Context<'_>) -> Result<(), Failure> {
    let members = form(context)?;
    let Some(member) = members.first() else { return Ok(()) };
    let machine = &member.machine;
    let started = format!("Unit tour.service launched on {}\n", member.location());
    expect_output(machine, "fleetctl start /usr/share/keelson/examples/tour.service", &started)?;
    machine.wait_until_succeeds("fleetctl list-units | grep -P 'active\\trunning'", STARTED)?;
    machine.wait_until_succeeds("fleetctl journal tour.service | grep 'Hello World'", STARTED)?;
    let running = machine.succeed("docker ps --format '{{.Names}} {{.Image}}'")?;
    expect(running == "tour busybox\n", "its container", &running)?;
    expect_output(machine, "fleetctl stop tour.service", &started.replace("launched", "loaded"))?;
    // The tutorials' shell ignores SIGTERM, and docker kills it after ten seconds. Its client exits with that code,
    // a failure, or by systemd's SIGTERM: a race in the original too.
    let ended = "fleetctl list-units | grep -P '(inactive\\tdead|failed\\tfailed)'";
    machine.wait_until_succeeds(ended, STARTED)?;
    expect_output(machine, "docker ps --quiet", "")?;
    expect_output(machine, "fleetctl destroy tour.service", "Destroyed tour.service\n")?;
    expect_output(machine, "fleetctl list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}
