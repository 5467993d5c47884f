//! Secure Boot: keys enrolled from the image, and updates with and without a valid signature.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::versions::{Fault, Keys, release};
use super::{APPLIED, FOLDER, apply, begin, proven, runs, trust, verified};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::signing;

pub const SECURE_BOOT: Scenario = Scenario {
    name: "secure-boot",
    about: "a machine takes the keys of its image, runs only what they sign, goes to the next version, and refuses one that is not signed",
    on: &[Qemu],
    shared: &[FOLDER],
    long_on: &[Qemu],
    secure_boot: true,
    run: secure_boot,
    ..DEFAULTS
};

const SIGNED: &str = "9999.2.0";
const NOT_SIGNED: &str = "9999.3.0";

fn secure_boot(context: &Context<'_>) -> Result<(), Failure> {
    let releases = context.shared(1);
    let mut keys = Keys::make(&context.site.layout().root().join("keys"))?;
    keys.secure_boot = Some(signing::key(context.run)?);
    release(context.run, &keys, SIGNED, Fault::None, &[], &releases)?;
    release(context.run, &keys, NOT_SIGNED, Fault::NotSigned, &[SIGNED], &releases)?;
    // The firmware has no keys: systemd-boot enrols those of the image, and restarts.
    context.boot()?;
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    enforced(&machine)?;
    trust(&machine, &keys)?;
    proven(&machine, first)?;

    apply(&machine, SIGNED)?;
    machine.reboot()?;
    runs(&machine, SIGNED)?;
    verified(&machine)?;
    enforced(&machine)?;
    proven(&machine, SIGNED)?;

    // Otherwise valid: without this check the firmware would refuse it without a fallback.
    begin(&machine, NOT_SIGNED)?;
    machine
        .wait_until_succeeds("systemctl is-active apply.service | grep -E '^(active|failed)$'", APPLIED)?;
    let output =
        machine.succeed("sudo journalctl --unit=apply.service --boot --no-pager --lines=20 --output=cat")?;
    let why = "Secure Boot is enabled and would reject this version: its boot image is not signed";
    expect(output.contains(why), why, &output)?;
    let images = machine.succeed("sudo ls /boot/EFI/Linux")?;
    expect(!images.contains(NOT_SIGNED), "no boot image of what was refused", &images)?;
    machine.reboot()?;
    runs(&machine, SIGNED)?;
    enforced(&machine)
}

/// Checks the firmware's variables, and that root cannot change the kernel.
fn enforced(machine: &Machine<'_>) -> Result<(), Failure> {
    for (name, wanted) in [("SecureBoot", "1"), ("SetupMode", "0")] {
        let file = format!("/sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        let found = machine.succeed(&format!("od --address-radix=n --format=u1 --skip-bytes=4 {file}"))?;
        expect(found.trim() == wanted, &format!("{name} {wanted}"), &found)?;
    }
    let lockdown = machine.succeed("cat /sys/kernel/security/lockdown")?;
    expect(lockdown.contains("[integrity]"), "kernel lockdown", &lockdown)
}
