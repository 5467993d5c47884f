//! All machines request a reboot concurrently.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::{Nspawn, Qemu};

use super::super::fleet::cluster::{
    Member, beat_on_each, form_three, put, ttl, user_data, wait_for_machines,
};
use super::super::fleet::heartbeats::{FOLDER, Heartbeats, SERVICE};
use super::super::kv::{NODES, SOON, expect_output};
use super::{SEND, UNIT, boots};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const ONE_AT_A_TIME: Scenario = Scenario {
    name: "locksmith-one-at-a-time",
    about: "three machines that need a reboot at once reboot one after the other: units move, the store takes writes",
    nodes: NODES,
    shared: &[FOLDER],
    // On QEMU `update-roll` reboots three machines one at a time too.
    by_name_on: &[Qemu],
    run: one_at_a_time,
    ..DEFAULTS
};

/// Limit until the last machine has rebooted.
fn limit(context: &Context<'_>) -> Duration {
    Duration::from_secs(if context.backend == Nspawn { 300 } else { 1800 })
}

fn one_at_a_time(context: &Context<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let units = format!("{UNIT}{}", boots::WRITER);
    let data = user_data(&[format!("agent-ttl: {}s", ttl(context).as_secs())], &units);
    context.site.set_user_data(data.as_bytes())?;
    let members = form_three(context)?;
    let folder = context.shared(1);
    let heartbeats = Heartbeats::new(&folder);
    for member in &members {
        member.machine.wait_for_unit("locksmithd.service", SOON)?;
        let file = "sort /run/update-engine/coordinator.conf";
        expect_output(&member.machine, file, "NAME=locksmithd\nSTATE=running\nSTRATEGY=best-effort\n")?;
    }
    let names = beat_on_each(&members, &heartbeats)?;

    std::thread::scope(|scope| {
        let told: Vec<_> =
            members.iter().map(|member| scope.spawn(|| member.machine.succeed(SEND))).collect();
        told.into_iter().try_for_each(|one| match one.join() {
            Ok(done) => done.map(drop).map_err(Failure::from),
            Err(_) => Err(Failure::Expected("a command that ends".to_owned())),
        })
    })?;
    let deadline = Instant::now() + limit(context);
    loop {
        let actual = boots::read(&folder)?;
        if actual.boots.len() == NODES && actual.boots.values().all(|boots| boots.len() > 1) {
            break;
        }
        let boots: Vec<_> =
            actual.boots.iter().map(|(id, boots)| format!("{id:.8}: {}", boots.len())).collect();
        expect(Instant::now() < deadline, "two boots of each machine", &boots.join(", "))?;
        std::thread::sleep(Duration::from_secs(1));
    }
    settled(context, slowdown, &members, &heartbeats, &names)
}

fn settled(
    context: &Context<'_>,
    slowdown: Slowdown,
    members: &[Member<'_>; NODES],
    heartbeats: &Heartbeats,
    names: &[String],
) -> Result<(), Failure> {
    let all: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    for member in members {
        // The last one releases the lock once it is healthy, and none reboots a second time.
        let free = "test \"$(locksmithctl status)\" = \"$(printf 'Available: 1\\nMax: 1')\"";
        member.machine.wait_until_succeeds(free, SOON)?;
        wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
        let open = "! sudo curl -s --unix-socket /run/fleet.sock http://x/fleet/v1/machines | grep cordon";
        member.machine.wait_until_succeeds(open, SOON)?;
        member.machine.succeed("! sudo test -e /var/lib/locksmith/drained")?;
        let journal = "sudo journalctl -b -1 -u locksmithd -o cat | grep -E \
            '^(The units have moved away|Reboot sent. Going to sleep.)$'";
        expect_output(&member.machine, journal, "The units have moved away\nReboot sent. Going to sleep.\n")?;
        let unlocked =
            "sudo journalctl -b -u locksmithd -o cat | grep -x 'Unlocked existing lock for this machine'";
        member.machine.wait_until_succeeds(unlocked, SOON)?;
    }
    let actual = boots::read(&context.shared(1))?;
    let counts: Vec<_> = actual.boots.values().map(Vec::len).collect();
    expect(counts == [2; NODES], "each machine to reboot once", &format!("{counts:?} boots"))?;
    actual.one_at_a_time()?;
    eprintln!("{actual}");
    actual.each_could_write(context, slowdown.until_now(context)?)?;
    heartbeats.wait(names, &all, SOON)?;
    heartbeats.never_twice()?;
    // Each unit left its machine before the reboot.
    heartbeats.moved(names)?;
    // Machines accept units again: each gets some of six.
    start_anywhere(&members[0])?;
    let more: Vec<_> = (4..=9).map(|number| format!("beat@{number}.service")).collect();
    let placed = heartbeats.wait(&more, &all, SOON)?;
    for id in all {
        expect(placed.iter().any(|run| run.machine == id), &format!("a new unit on {id:.8}"), "none")?;
    }
    heartbeats.never_twice()
}

fn start_anywhere(member: &Member<'_>) -> Result<(), Failure> {
    put(&member.machine, "beat@.service", SERVICE)?;
    member.machine.succeed("for n in 4 5 6 7 8 9; do fleetctl start beat@$n || exit 1; done")?;
    Ok(())
}
