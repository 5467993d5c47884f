//! The power goes while a version is written.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;

use super::versions::{Fault, Keys, release};
use super::{APPLIED, FOLDER, proven, runs, seen, trust};
use crate::failure::Failure;
use crate::scenario::{Scenario, Stage, USUAL};

pub const POWER: Scenario = Scenario {
    name: "update-power",
    about: "a machine whose plug is pulled at any moment of an update boots, and the next attempt ends well",
    on: &[Qemu],
    shared: &[FOLDER],
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
    let apply = format!("sudo systemd-run --unit=apply --collect update-agent apply {}", seen(NEXT));
    // How long it takes here, by one that is let be.
    let begun = std::time::Instant::now();
    machine.succeed(&apply)?;
    machine.wait_until_succeeds(
        "! systemctl is-active apply.service && sudo update-agent slots | grep 9999.2.0",
        APPLIED,
    )?;
    let whole = begun.elapsed();
    machine.succeed("sudo update_engine_client -reset_status")?;
    for moment in 0..moments {
        // Another version in the slot, so that all of it is written each time.
        machine.succeed(
            "sudo dd if=/dev/urandom of=/dev/disk/by-partlabel/USR-B bs=1M count=400 conv=fsync status=none",
        )?;
        machine.succeed("sudo rm -f /var/lib/keelson/update/attempts.json")?;
        machine.succeed(&apply)?;
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
    machine.wait_until_succeeds(&format!("sudo update-agent apply {}", seen(NEXT)), APPLIED)?;
    machine.reboot()?;
    runs(&machine, NEXT)
}
