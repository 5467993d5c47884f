//! etcd while one machine's disk or clock fails.

use std::time::{Duration, Instant};

use machines::backend::DiskFault;
use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::kv::{FORMED, LOAD, NODES, SOON, USER_DATA, expect_output, form, health, leader};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const BAD_DISK: Scenario = Scenario {
    name: "kv-bad-disk",
    about: "a slow disk and then a failing one leave the cluster at work; their member says so and comes back",
    nodes: NODES,
    // A container has no disk that could fail.
    on: &[Qemu],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    user_data: Some(USER_DATA),
    run: bad_disk,
    ..DEFAULTS
};

/// Queries only the local member: without `--no-sync` etcdctl uses any member.
const LOCAL: &str = "etcdctl --no-sync --endpoints http://127.0.0.1:2379";
/// Reads and writes per second: a hundredth of what the slowest disks do.
const SLOW: u64 = 5;
/// Forwards the journal to the console, which needs no disk.
const FORWARD_JOURNAL: &str = "sudo sh -c 'mkdir -p /run/systemd/journald.conf.d && \
    printf \"[Journal]\\nForwardToConsole=yes\\nMaxLevelConsole=info\\n\" >/run/systemd/journald.conf.d/console.conf \
    && systemctl restart systemd-journald'";

fn bad_disk(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let first = leader(context, &machines[0])?;
    let (slow, writer) = (context.machine(first % NODES + 1), context.machine((first + 1) % NODES + 1));
    writer.succeed(LOAD)?;
    wait_for_writes(&writer, 50)?;

    slow.disk(DiskFault::Slow { operations: SLOW })?;
    wait_for_writes(&writer, 50)?;
    slow.disk(DiskFault::None)?;
    expect_output(&writer, "etcdctl set /after-slow yes", "yes\n")?;
    slow.wait_until_succeeds(&format!("{LOCAL} get /after-slow"), SOON)?;

    // The leader's disk fails: another member has to take over.
    let failing = context.machine(leader(context, &writer)?);
    expect(failing.name() != writer.name(), "another leader than the writer", writer.name())?;
    failing.succeed(FORWARD_JOURNAL)?;
    failing.disk(DiskFault::Failing)?;
    failing.wait_for_console("the log stopped after a failure while", FORMED)?;
    wait_for_writes(&writer, 50)?;
    let next = context.machine(leader(context, &writer)?);
    expect(next.name() != failing.name(), "another leader than the member without a disk", next.name())?;

    // Its file system is shut down: a repaired disk is used from the next boot on.
    failing.disk(DiskFault::None)?;
    failing.crash()?;
    failing.start()?;
    failing.wait_for_unit("etcd.service", FORMED)?;
    wait_for_writes(&writer, 20)?;
    nothing_lost(&machines, &writer)
}

/// Waits until `count` more writes are acknowledged.
fn wait_for_writes(writer: &Machine<'_>, count: usize) -> Result<(), Failure> {
    let now: usize = writer.succeed("cat /run/acknowledged 2>/dev/null | wc -l")?.trim().parse().unwrap_or(0);
    let wanted = now + count;
    writer.wait_until_succeeds(&format!("test $(wc -l </run/acknowledged) -ge {wanted}"), SOON)?;
    Ok(())
}

/// Stops the writer, and reads every acknowledged key from every member.
fn nothing_lost(machines: &[Machine<'_>], writer: &Machine<'_>) -> Result<(), Failure> {
    writer.succeed("sudo touch /run/enough")?;
    writer.wait_until_succeeds("! systemctl is-active load.service", SOON)?;
    let acknowledged = writer.succeed("sort /run/acknowledged")?;
    for machine in machines {
        machine.wait_until_succeeds("curl -sf http://127.0.0.1:2379/health", SOON)?;
        machine.write("/run/acknowledged-elsewhere", acknowledged.as_bytes())?;
        let check = format!(
            "{LOCAL} ls --quorum /load | sed 's#.*/##' | sort >/tmp/have; \
             comm -23 /run/acknowledged-elsewhere /tmp/have"
        );
        expect_output(machine, &check, "")?;
    }
    Ok(())
}

pub const CLOCK: Scenario = Scenario {
    name: "kv-clock",
    about: "a clock that jumps an hour ahead and back, and another year after a power cut, change no key of others",
    nodes: NODES,
    // Containers share the host's clock.
    on: &[Qemu],
    long_on: &[Qemu],
    user_data: Some(USER_DATA),
    // Every power-on starts at this time: a machine that lost power boots with a clock in the past.
    qemu_arguments: &["-rtc", "base=2031-05-06T07:08:09"],
    run: clock,
    ..DEFAULTS
};

/// TTL of a key in seconds; an emulated machine needs part of it to answer.
const TTL: u64 = 40;
const CLOCK_AHEAD: &str = "sudo date -s '1 hour'";
const CLOCK_BACK: &str = "sudo date -s '1 hour ago'";

fn clock(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    for machine in &machines {
        machine.succeed("sudo systemctl stop systemd-timesyncd.service")?;
        expect_output(machine, "date -u +%Y", "2031\n")?;
    }
    let first = leader(context, &machines[0])?;
    let (leads, odd) = (context.machine(first), context.machine(first % NODES + 1));
    let writer = context.machine((first + 1) % NODES + 1);
    writer.succeed(LOAD)?;
    wait_for_writes(&writer, 20)?;

    // On a follower, and on the leader, which keeps leading: keys live for their TTL on all members, whether the
    // clock is wrong before or after the write.
    let term = term_of(&leads)?;
    for (who, jumps) in [("follower", &odd), ("leader", &leads)] {
        let began = Instant::now();
        let keys = [format!("/{who}-before"), format!("/{who}-meanwhile")];
        for (key, jump) in keys.iter().zip([CLOCK_AHEAD, CLOCK_BACK]) {
            set_with_ttl(jumps, key)?;
            jumps.succeed(jump)?;
        }
        expect_ttl(&machines, jumps, &keys, began)?;
        wait_for_writes(&writer, 20)?;
    }
    let after = term_of(&leads)?;
    expect(term == after, "the same term", &format!("{term}, then {after}"))?;

    // After a power cut the real-time clock is back at the first power-on.
    leads.crash()?;
    wait_for_writes(&writer, 20)?;
    leads.start()?;
    leads.wait_for_unit("etcd.service", FORMED)?;
    let now = leader(context, &writer)?;
    let (leads, began, key) = (context.machine(now), Instant::now(), "/after-the-cut".to_owned());
    set_with_ttl(&leads, &key)?;
    expect_ttl(&machines, &leads, &[key], began)?;
    nothing_lost(&machines, &writer)?;
    health(context, &writer)
}

fn set_with_ttl(by: &Machine<'_>, key: &str) -> Result<(), Failure> {
    expect_output(by, &format!("{LOCAL} set {key} lives --ttl {TTL}"), "lives\n")
}

/// Checks that all members have these keys, whose TTLs count from `began` or later, for most of the TTL, and then none
/// has one.
fn expect_ttl(
    machines: &[Machine<'_>],
    by: &Machine<'_>,
    keys: &[String],
    began: Instant,
) -> Result<(), Failure> {
    let not_expired = || began.elapsed() < Duration::from_secs(TTL - 5);
    let all = |get: &str| keys.iter().map(|key| format!("{get} {key}")).collect::<Vec<_>>().join(" && ");
    for machine in machines {
        // A quorum read: a member may lag behind after its start.
        let there = machine.execute(&all(&format!("{LOCAL} get --quorum")))?;
        if not_expired() {
            expect(there.code == 0, &format!("{keys:?} on {}", machine.name()), &there.stderr)?;
        }
    }
    let half = Duration::from_secs(TTL / 2).checked_sub(began.elapsed());
    std::thread::sleep(half.unwrap_or_default());
    if not_expired() {
        by.succeed(&all(&format!("{LOCAL} get")))?;
    }
    for (machine, key) in machines.iter().flat_map(|machine| keys.iter().map(move |key| (machine, key))) {
        machine.wait_until_fails(&format!("{LOCAL} get {key}"), SOON)?;
    }
    let gone = began.elapsed();
    expect(gone < Duration::from_secs(TTL) + SOON, "them to expire in time", &format!("{gone:?}"))
}

fn term_of(machine: &Machine<'_>) -> Result<String, Failure> {
    let ask = "curl -si http://127.0.0.1:2379/v2/keys/ | tr -d '\\r' | grep -i '^x-raft-term:'";
    Ok(machine.succeed(ask)?)
}
