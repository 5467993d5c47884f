//! The README's five minutes and the 2014 tutorial's first units, on machines with the default user-data of `up`.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::cluster::{Member, form_three, put};
use super::super::kv::{NODES, expect_output, health};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const TOUR: Scenario = Scenario {
    name: "tour",
    about: "the README's tour and then the tutorial's hello.service and myapp.service run on the default user-data",
    nodes: NODES,
    user_data: Some(include_str!("../../../cloud-config/user-data.sample")),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: tour,
    ..DEFAULTS
};

/// The tutorial's name of the unit, and the one of its next chapter.
const UNITS: [&str; 2] = ["hello.service", "myapp.service"];
/// Limit for Docker's first start on an emulated machine.
const STARTED: Duration = Duration::from_secs(600);
/// fleetctl exits long before.
const NEVER: &str = "timeout 300";

fn unit(container: &str) -> String {
    format!(
        "[Unit]\nDescription=My Service\nAfter=docker.service\n\n[Service]\nTimeoutStartSec=0\n\
         ExecStartPre=-/usr/bin/docker kill {container}\nExecStartPre=-/usr/bin/docker rm {container}\n\
         ExecStartPre=-/usr/bin/docker pull busybox\n\
         ExecStart=/usr/bin/docker run --name {container} busybox /bin/sh -c \
         \"while true; do echo Hello World; sleep 1; done\"\nExecStop=/usr/bin/docker stop {container}\n"
    )
}

fn tour(context: &Context<'_>) -> Result<(), Failure> {
    let members = form_three(context)?;
    for member in &members {
        let machine = &member.machine;
        machine.wait_until_succeeds("journalctl -u sample.service -n 3 | grep 'Hello World'", STARTED)?;
        let environment = format!("COREOS_PRIVATE_IPV4={0}\nCOREOS_PUBLIC_IPV4={0}\n", member.address);
        expect_output(machine, "cat /etc/environment", &environment)?;
    }
    let (one, two) = (&context.machine(1), &context.machine(2));
    expect_output(one, "etcdctl set /message Hello", "Hello\n")?;
    expect_output(two, "etcdctl get /message", "Hello\n")?;
    health(context, two)?;

    let example = "/usr/share/keelson/examples/tour.service";
    starts(one, &members, "tour.service", example)?;
    for name in UNITS {
        let container = name.trim_end_matches(".service");
        put(one, name, &unit(container))?;
        starts(one, &members, name, name)?;
    }
    for name in UNITS {
        expect_output(one, &format!("{NEVER} fleetctl destroy {name}"), &format!("Destroyed {name}\n"))?;
    }
    let listed = "fleetctl list-units --no-legend --fields=unit";
    one.wait_until_succeeds(&format!("test \"$({listed})\" = tour.service"), STARTED)?;
    let failed = one.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

/// Runs `fleetctl start`, waits until the unit runs, and checks its output on its machine.
fn starts(
    client: &Machine<'_>,
    members: &[Member<'_>; NODES],
    name: &str,
    argument: &str,
) -> Result<(), Failure> {
    let output = client.succeed(&format!("{NEVER} fleetctl start {argument}"))?;
    let location =
        |member: &&Member<'_>| output == format!("Unit {name} launched on {}\n", member.location());
    let Some(there) = members.iter().find(location) else {
        return Err(Failure::Expected(format!(
            "expected {name} launched on one of the machines; seen: {output}"
        )));
    };
    let row = format!("{name}\t{}\tactive\trunning", there.location());
    let listed = format!("fleetctl list-units --no-legend | tr -s '\\t' | grep -x \"$(printf '{row}')\"");
    client.wait_until_succeeds(&listed, STARTED)?;
    let output = format!("journalctl -u {name} -n 3 | grep 'Hello World'");
    there.machine.wait_until_succeeds(&output, STARTED)?;
    Ok(())
}
