//! The power goes while a version is written.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::versions::{Fault, Keys, release};
use super::{APPLIED, FOLDER, apply, begin, proven, runs, trust, version};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const POWER: Scenario = Scenario {
    name: "update-power",
    about: "a machine whose plug is pulled while it writes, reads back or arms a version boots, and the next attempt ends well",
    on: &[Qemu],
    shared: &[FOLDER],
    run: in_each_phase,
    ..USUAL
};

// A quarter of the moments each: all of them take 40 minutes.
pub const POWER_1: Scenario =
    Scenario { name: "update-power-1", run: |stage| at_many_moments(stage, 1), ..LONG };
pub const POWER_2: Scenario =
    Scenario { name: "update-power-2", run: |stage| at_many_moments(stage, 2), ..LONG };
pub const POWER_3: Scenario =
    Scenario { name: "update-power-3", run: |stage| at_many_moments(stage, 3), ..LONG };
pub const POWER_4: Scenario =
    Scenario { name: "update-power-4", run: |stage| at_many_moments(stage, 4), ..LONG };

const LONG: Scenario = Scenario {
    about: "a machine whose plug is pulled at five of twenty moments of an update boots, and the next attempt ends well",
    long_on: &[Qemu],
    ..POWER
};

const NEXT: &str = "9999.2.0";
/// Moments of an update, evenly distributed, of which each scenario takes every fourth.
const MOMENTS: u32 = 20;
const SCENARIOS: usize = 4;
/// At least this many of a scenario's five moments come before the last write: emulated machines are not of even speed.
const ENOUGH: u32 = 3;
/// What `update-agent apply` says when a phase has begun; it tells the percentage every ten seconds.
const PHASES: [&str; 3] = ["[2-9][0-9] %", "reading back", "finishing"];

/// A machine that could take the next version now.
fn ready(stage: &Stage<'_>) -> Result<(), Failure> {
    let keys = Keys::make(&stage.site.layout().root().join("keys"))?;
    release(stage.run, &keys, NEXT, Fault::None, &[], &stage.shared(1))?;
    stage.boot()?;
    let machine = stage.machine(1);
    trust(&machine, &keys)?;
    proven(&machine, &stage.run.image.version)
}

fn in_each_phase(stage: &Stage<'_>) -> Result<(), Failure> {
    ready(stage)?;
    let machine = stage.machine(1);
    for phase in PHASES {
        begin(&machine, NEXT)?;
        // The machine itself waits: a phase may be over before the next question comes.
        let journal = "journalctl --boot --unit=apply.service --output=cat --lines=all --follow";
        let said = format!("sudo timeout 60 bash -c \"grep -qE '{phase}' < <({journal})\"");
        machine.wait_until_succeeds(&said, APPLIED)?;
        let found = cut(stage)?;
        eprintln!("cut after `{phase}`: {found} came up");
        if found == NEXT {
            // It was armed already. The phases that follow are cut all the same.
            back(stage, &machine)?;
            empty_slot(&machine)?;
        }
    }
    apply(&machine, NEXT)?;
    machine.reboot()?;
    runs(&machine, NEXT)
}

/// Pulls the plug; what runs then, which is one of the two versions.
fn cut(stage: &Stage<'_>) -> Result<String, Failure> {
    let machine = stage.machine(1);
    machine.crash()?;
    machine.start()?;
    let found = version(&machine)?;
    if found != NEXT {
        runs(&machine, &stage.run.image.version)?;
    }
    Ok(found)
}

/// Moments `first`, `first + 4` and so on.
fn at_many_moments(stage: &Stage<'_>, first: u32) -> Result<(), Failure> {
    ready(stage)?;
    let machine = stage.machine(1);
    // The time of a whole attempt on this host.
    let begun = Instant::now();
    apply(&machine, NEXT)?;
    let whole = begun.elapsed();
    machine.succeed("sudo update_engine_client -reset_status")?;
    let mut before_the_last = 0;
    for moment in (first..=MOMENTS).step_by(SCENARIOS) {
        empty_slot(&machine)?;
        begin(&machine, NEXT)?;
        let part = f64::from(moment) / f64::from(MOMENTS + 1);
        std::thread::sleep(whole.mul_f64(part).max(Duration::from_millis(500)));
        let found = cut(stage)?;
        eprintln!("cut {moment}: {found} came up");
        if found == NEXT {
            back(stage, &machine)?;
        } else {
            before_the_last += 1;
        }
    }
    let enough = format!("{ENOUGH} cuts before the last write or more");
    expect(before_the_last >= ENOUGH, &enough, &before_the_last.to_string())?;
    apply(&machine, NEXT)?;
    machine.reboot()?;
    runs(&machine, NEXT)
}

/// Leaves nothing of the next version in its slot, so that an attempt writes all of it.
fn empty_slot(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(
        "sudo dd if=/dev/zero of=/dev/disk/by-partlabel/USR-B bs=1M count=400 conv=fsync status=none",
    )?;
    machine.succeed("sudo rm -f /var/lib/keelson/update/attempts.json")?;
    Ok(())
}

/// From the next version to the first one, which may take the next one again.
fn back(stage: &Stage<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    proven(machine, NEXT)?;
    machine.succeed("sudo update-agent rollback")?;
    machine.reboot()?;
    runs(machine, &stage.run.image.version)?;
    machine.succeed(&format!("sudo update-agent retry {NEXT}"))?;
    Ok(())
}
