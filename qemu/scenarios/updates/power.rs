//! Power cuts during an update.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::versions::{Fault, Keys, release};
use super::{APPLIED, FOLDER, apply, begin, proven, runs, trust, version};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const POWER: Scenario = Scenario {
    name: "update-power",
    about: "a machine whose plug is pulled while it writes, reads back or arms a version boots, and the next attempt succeeds",
    on: &[Qemu],
    shared: &[FOLDER],
    run: in_each_phase,
    ..DEFAULTS
};

pub const POWER_MOMENTS: Scenario = Scenario {
    name: "update-power-moments",
    about: "a machine whose plug is pulled at twelve moments of an update boots, and the next attempt succeeds",
    long_on: &[Qemu],
    run: at_many_moments,
    ..POWER
};

const NEXT: &str = "9999.2.0";
/// Number of evenly distributed moments of an update.
const MOMENTS: u32 = 12;
/// Minimal number of cuts before the last write: the speed of emulated machines varies.
const MIN_CUTS: usize = 7;
/// Progress messages of `update-agent apply` at each phase; it prints the percentage every ten seconds.
const PHASES: [&str; 3] = ["[2-9][0-9] %", "verifying", "finishing"];

/// Prepares a machine that could apply an update.
fn ready(context: &Context<'_>) -> Result<(), Failure> {
    let keys = Keys::make(&context.site.layout().root().join("keys"))?;
    release(context.run, &keys, NEXT, Fault::None, &[], &context.shared(1))?;
    context.boot()?;
    let machine = context.machine(1);
    trust(&machine, &keys)?;
    proven(&machine, &context.run.image.version)
}

fn in_each_phase(context: &Context<'_>) -> Result<(), Failure> {
    ready(context)?;
    let machine = context.machine(1);
    begin(&machine, NEXT)?;
    let mut cuts = Vec::new();
    for phase in PHASES {
        // Waits on the machine: polling from the host could miss a phase.
        let journal = "journalctl --boot --unit=apply.service --output=cat --lines=all --follow";
        let reached = format!("sudo timeout 60 bash -c \"grep -qE '{phase}' < <({journal})\"");
        machine.wait_until_succeeds(&reached, APPLIED)?;
        cuts.push(Cut::now(context, format!("in `{phase}`"), cuts.len())?);
    }
    boots_after_each(context, cuts)?;
    return_to_first(context, &machine)
}

/// The disk after a power cut.
struct Cut {
    moment: String,
    folder: PathBuf,
}

impl Cut {
    fn now(context: &Context<'_>, moment: String, number: usize) -> Result<Self, Failure> {
        let folder = context.site.layout().root().join(format!("cut-{number}"));
        context.machine(1).snapshot_disk(&folder)?;
        Ok(Self { moment, folder })
    }
}

/// Boots the machine from each disk: one of the two versions runs. On the last disk with the first version the
/// update then succeeds. Returns the number of disks with the first version.
fn boots_after_each(context: &Context<'_>, mut cuts: Vec<Cut>) -> Result<usize, Failure> {
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    let mut before_the_last = 0;
    // In reverse, so that the machine ends with the disk of an early cut.
    while let Some(Cut { moment, folder }) = cuts.pop() {
        machine.replace_disk(&folder)?;
        machine.start()?;
        let found = version(&machine)?;
        eprintln!("cut {moment}: {found} boots");
        if found != NEXT {
            runs(&machine, first)?;
            before_the_last += 1;
        }
    }
    runs(&machine, first)?;
    apply(&machine, NEXT)?;
    machine.reboot()?;
    runs(&machine, NEXT)?;
    Ok(before_the_last)
}

fn at_many_moments(context: &Context<'_>) -> Result<(), Failure> {
    ready(context)?;
    let machine = context.machine(1);
    // Measures a whole update on this host.
    let begun = Instant::now();
    apply(&machine, NEXT)?;
    let whole = begun.elapsed();
    machine.succeed("sudo update_engine_client -reset_status")?;
    empty_slot(&machine)?;
    begin(&machine, NEXT)?;
    let (begun, mut frozen) = (Instant::now(), Duration::ZERO);
    let mut cuts = Vec::new();
    for moment in 1..=MOMENTS {
        let part = f64::from(moment) / f64::from(MOMENTS + 1);
        // Not a wait: the moment itself is what is tested.
        std::thread::sleep((whole.mul_f64(part) + frozen).saturating_sub(begun.elapsed()));
        let before = Instant::now();
        cuts.push(Cut::now(context, format!("at {moment} of {MOMENTS}"), cuts.len())?);
        frozen += before.elapsed();
    }
    let before_the_last = boots_after_each(context, cuts)?;
    let enough = format!("{MIN_CUTS} cuts before the last write or more");
    expect(before_the_last >= MIN_CUTS, &enough, &before_the_last.to_string())
}

/// Overwrites the other slot, so that an update writes all of it.
fn empty_slot(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(
        "sudo dd if=/dev/zero of=/dev/disk/by-partlabel/USR-B bs=1M count=400 conv=fsync status=none",
    )?;
    machine.succeed("sudo rm -f /var/lib/keelson/update/attempts.json")?;
    Ok(())
}

/// Returns from the next version to the first one.
fn return_to_first(context: &Context<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    proven(machine, NEXT)?;
    machine.succeed("sudo update-agent rollback")?;
    machine.reboot()?;
    runs(machine, &context.run.image.version)
}
