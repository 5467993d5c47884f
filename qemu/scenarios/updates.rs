//! Updates on whole machines: into the other slot, fallback from a version that does not boot, and power cuts.

mod channel;
pub mod installation;
pub mod power;
pub mod roll;
pub mod secure_boot;
pub mod single_machine;
mod versions;

use std::time::Duration;

use machines::machine::Machine;

use crate::failure::{Failure, expect};
use versions::Keys;

/// Guest path of the host's releases.
const FOLDER: &str = "/media/releases";
/// An emulated machine writes and verifies half a gibibyte.
const APPLIED: Duration = Duration::from_secs(900);
/// Three failed boots, each with a timeout of three minutes, and a good one.
const FELL_BACK: Duration = Duration::from_secs(1200);
/// Limit from ready to good.
const PROVEN: Duration = Duration::from_secs(600);

/// Makes the machine trust the scenario's keys, and disables automatic reboots.
fn trust(machine: &Machine<'_>, keys: &Keys) -> Result<(), Failure> {
    machine.succeed("sudo mkdir -p /etc/keelson/keys.d")?;
    machine.write("/etc/keelson/keys.d/root.json", keys.root.as_bytes())?;
    machine.succeed(
        "printf 'GROUP=alpha\\nALLOW_LOCAL_KEYS=yes\\nREBOOT_STRATEGY=off\\n' | sudo tee /etc/coreos/update.conf",
    )?;
    machine.succeed("sudo systemctl restart locksmithd.service")?;
    // A trial of ten seconds instead of two minutes.
    machine.succeed("sudo mkdir -p /etc/systemd/system/keelson-health-check.service.d")?;
    machine.write(
        "/etc/systemd/system/keelson-health-check.service.d/10-test.conf",
        b"[Service]\nEnvironment=KEELSON_HEALTH_SETTLE=10\n",
    )?;
    Ok(())
}

/// The version that the machine reports.
fn version(machine: &Machine<'_>) -> Result<String, Failure> {
    Ok(machine.succeed("sed -n 's/^VERSION_ID=//p' /etc/os-release")?.trim().to_owned())
}

fn runs(machine: &Machine<'_>, wanted: &str) -> Result<(), Failure> {
    let found = version(machine)?;
    expect(found == wanted, &format!("version {wanted}"), &found)
}

/// Waits until the running version is marked good: only then may an update overwrite the other slot.
fn proven(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let good = format!("sudo test -e /boot/EFI/Linux/keelson_{version}.efi");
    machine.wait_until_succeeds(&good, PROVEN)?;
    Ok(())
}

/// Starts `update-agent apply` of a release in the background.
fn begin(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let apply = format!("update-agent apply {}", guest_path(version));
    machine.succeed("sudo systemctl stop apply.service; sudo systemctl reset-failed apply.service; true")?;
    machine.succeed(&format!(
        "sudo systemd-run --no-block --unit=apply --property=Type=oneshot --property=RemainAfterExit=yes {apply}"
    ))?;
    Ok(())
}

/// Installs a release.
fn apply(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    begin(machine, version)?;
    let ended = "systemctl is-active apply.service | grep -E '^(active|failed)$'";
    let state = machine.wait_until_succeeds(ended, APPLIED)?;
    let output =
        machine.succeed("sudo journalctl --unit=apply.service --boot --no-pager --lines=20 --output=cat")?;
    expect(state.trim() == "active", "an update that is installed", &output)
}

/// Leaves an installed version its last try, as after two failed boots. `update-roll-broken` uses all three.
fn last_try(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let entry = format!("/boot/EFI/Linux/keelson_{version}");
    machine.succeed(&format!(
        "sudo mv --no-clobber {entry}+3-0.efi {entry}+1-2.efi && sudo sync --file-system /boot"
    ))?;
    Ok(())
}

/// Guest path of a release's folder.
fn guest_path(version: &str) -> String {
    format!("{FOLDER}/{version}")
}

/// Checks that dm-verity maps `/usr`.
fn verified(machine: &Machine<'_>) -> Result<(), Failure> {
    let source = machine.succeed("findmnt --noheadings --output SOURCE,FSTYPE /usr")?;
    expect(source.split_whitespace().eq(["/dev/mapper/usr", "erofs"]), "/dev/mapper/usr erofs", &source)
}
