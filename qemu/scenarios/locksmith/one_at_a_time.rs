//! All machines request a reboot concurrently.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::{Nspawn, Qemu};

use super::super::fleet::beats::{Beats, FOLDER, SERVICE};
use super::super::fleet::cluster::{Member, beat_on_each, put, three, ttl, user_data, wait_for_machines};
use super::super::kv::{NODES, SOON, shows};
use super::{SEND, UNIT, boots};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const ONE_AT_A_TIME: Scenario = Scenario {
    name: "locksmith-one-at-a-time",
    about: "three machines that need a reboot at once reboot one after the other: units move, the store takes writes",
    nodes: NODES,
    shared: &[FOLDER],
    // On QEMU `update-roll` reboots three machines one at a time too.
    by_name_on: &[Qemu],
    run: one_at_a_time,
    ..USUAL
};

/// Limit until the last machine has rebooted.
fn limit(stage: &Stage<'_>) -> Duration {
    Duration::from_secs(if stage.backend == Nspawn { 300 } else { 1800 })
}

fn one_at_a_time(stage: &Stage<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let units = format!("{UNIT}{}", boots::WRITER);
    let data = user_data(&[format!("agent-ttl: {}s", ttl(stage).as_secs())], &units);
    stage.site.set_user_data(data.as_bytes())?;
    let members = three(stage)?;
    let folder = stage.shared(1);
    let beats = Beats::new(&folder);
    for member in &members {
        member.machine.wait_for_unit("locksmithd.service", SOON)?;
        let file = "sort /run/update-engine/coordinator.conf";
        shows(&member.machine, file, "NAME=locksmithd\nSTATE=running\nSTRATEGY=best-effort\n")?;
    }
    let names = beat_on_each(&members, &beats)?;

    std::thread::scope(|scope| {
        let told: Vec<_> =
            members.iter().map(|member| scope.spawn(|| member.machine.succeed(SEND))).collect();
        told.into_iter().try_for_each(|one| match one.join() {
            Ok(done) => done.map(drop).map_err(Failure::from),
            Err(_) => Err(Failure::Expected("a command that ends".to_owned())),
        })
    })?;
    let deadline = Instant::now() + limit(stage);
    loop {
        let seen = boots::read(&folder)?;
        if seen.boots.len() == NODES && seen.boots.values().all(|boots| boots.len() > 1) {
            break;
        }
        let boots: Vec<_> =
            seen.boots.iter().map(|(id, boots)| format!("{id:.8}: {}", boots.len())).collect();
        expect(Instant::now() < deadline, "two boots of each machine", &boots.join(", "))?;
        std::thread::sleep(Duration::from_secs(1));
    }
    settled(stage, slowdown, &members, &beats, &names)
}

fn settled(
    stage: &Stage<'_>,
    slowdown: Slowdown,
    members: &[Member<'_>; NODES],
    beats: &Beats,
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
        shows(&member.machine, journal, "The units have moved away\nReboot sent. Going to sleep.\n")?;
        let unlocked =
            "sudo journalctl -b -u locksmithd -o cat | grep -x 'Unlocked existing lock for this machine'";
        member.machine.wait_until_succeeds(unlocked, SOON)?;
    }
    let seen = boots::read(&stage.shared(1))?;
    let counts: Vec<_> = seen.boots.values().map(Vec::len).collect();
    expect(counts == [2; NODES], "each machine to reboot once", &format!("{counts:?} boots"))?;
    seen.one_at_a_time()?;
    eprintln!("{seen}");
    seen.each_could_write(stage, slowdown.until_now(stage)?)?;
    beats.wait(names, &all, SOON)?;
    beats.never_twice()?;
    // Each unit left its machine before the reboot.
    beats.moved(names)?;
    // Machines accept units again: each gets some of six.
    start_anywhere(&members[0])?;
    let more: Vec<_> = (4..=9).map(|number| format!("beat@{number}.service")).collect();
    let placed = beats.wait(&more, &all, SOON)?;
    for id in all {
        expect(placed.iter().any(|run| run.machine == id), &format!("a new unit on {id:.8}"), "none")?;
    }
    beats.never_twice()
}

fn start_anywhere(member: &Member<'_>) -> Result<(), Failure> {
    put(&member.machine, "beat@.service", SERVICE)?;
    member.machine.succeed("for n in 4 5 6 7 8 9; do fleetctl start beat@$n || exit 1; done")?;
    Ok(())
}
