//! The power goes while a version is written.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;

use super::versions::{Fault, Keys, release};
use super::{FOLDER, apply, begin, proven, runs, trust};
use crate::failure::Failure;
use crate::scenario::{Scenario, Stage, USUAL};

pub const POWER: Scenario = Scenario {
    name: "update-power",
    about: "a machine whose plug is pulled at any moment of an update boots, and the next attempt ends well",
    on: &[Qemu],
    shared: &[FOLDER],
    long_on: &[Qemu],
    run: |stage| power(stage, 3),
    ..USUAL
};

pub const POWER_LONG: Scenario = Scenario {
    name: "update-power-long",
    about: "the same at twenty moments",
    long_on: &[Qemu],
    run: |stage| power(stage, 20),
    ..POWER
};

const NEXT: &str = "9999.2.0";

fn power(stage: &Stage<'_>, moments: u32) -> Result<(), Failure> {
    let releases = stage.shared(1);
    let keys = Keys::make(&stage.site.layout().root().join("keys"))?;
    release(stage.run, &keys, NEXT, Fault::None, &[], &releases)?;
    stage.boot()?;
    let machine = stage.machine(1);
    let first = stage.run.image.version.as_str();
    trust(&machine, &keys)?;
    proven(&machine, first)?;
    // How long it takes here, by one that is let be.
    let begun = std::time::Instant::now();
    apply(&machine, NEXT)?;
    let whole = begun.elapsed();
    machine.succeed("sudo update_engine_client -reset_status")?;
    for moment in 0..moments {
        // Another version in the slot, so that all of it is written each time.
        machine.succeed(
            "sudo dd if=/dev/zero of=/dev/disk/by-partlabel/USR-B bs=1M count=400 conv=fsync status=none",
        )?;
        machine.succeed("sudo rm -f /var/lib/keelson/update/attempts.json")?;
        begin(&machine, NEXT)?;
        let part = f64::from(moment + 1) / f64::from(moments + 1);
        std::thread::sleep(whole.mul_f64(part).max(Duration::from_millis(500)));
        machine.crash()?;
        machine.start()?;
        // The old one, or the new one where the plug was pulled after the last write.
        let found = super::version(&machine)?;
        if found == NEXT {
            return Ok(());
        }
        runs(&machine, first)?;
    }
    apply(&machine, NEXT)?;
    machine.reboot()?;
    runs(&machine, NEXT)
}
