//! Updates on whole machines: into the other slot, back from what does not come up, and cut off.

pub mod alone;
mod channel;
pub mod power;
pub mod roll;
pub mod secure_boot;
mod versions;

use std::time::Duration;

use machines::machine::Machine;

use crate::failure::{Failure, expect};
use versions::Keys;

/// Where the machines see the host's releases.
const FOLDER: &str = "/media/releases";
/// An emulated machine writes and reads back half a gibibyte.
const APPLIED: Duration = Duration::from_secs(900);
/// Three boots in vain, each of which waits three minutes for what does not come, and one that works.
const FELL_BACK: Duration = Duration::from_secs(1200);
/// From ready to found good.
const PROVEN: Duration = Duration::from_secs(600);

/// Makes the machine trust the scenario's keys, and nothing reboots by itself.
fn trust(machine: &Machine<'_>, keys: &Keys) -> Result<(), Failure> {
    machine.succeed("sudo mkdir -p /etc/keelson/keys.d/release /etc/keelson/keys.d/channel")?;
    machine.write("/etc/keelson/keys.d/release/test.pub", keys.release.as_bytes())?;
    machine.write("/etc/keelson/keys.d/channel/test.pub", keys.channel.as_bytes())?;
    machine.succeed(
        "printf 'GROUP=alpha\\nALLOW_LOCAL_KEYS=yes\\nREBOOT_STRATEGY=off\\n' | sudo tee /etc/coreos/update.conf",
    )?;
    machine.succeed("sudo systemctl restart locksmithd.service")?;
    // A version on trial has to hold for two minutes; here for ten seconds.
    machine.succeed("sudo mkdir -p /etc/systemd/system/keelson-health-check.service.d")?;
    machine.write(
        "/etc/systemd/system/keelson-health-check.service.d/10-test.conf",
        b"[Service]\nEnvironment=KEELSON_HEALTH_SETTLE=10\n",
    )?;
    Ok(())
}

/// What runs, as the machine says.
fn version(machine: &Machine<'_>) -> Result<String, Failure> {
    Ok(machine.succeed("sed -n 's/^VERSION_ID=//p' /etc/os-release")?.trim().to_owned())
}

fn runs(machine: &Machine<'_>, wanted: &str) -> Result<(), Failure> {
    let found = version(machine)?;
    expect(found == wanted, &format!("version {wanted}"), &found)
}

/// Waits until what runs was found good: an update may take the other slot only then.
fn proven(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let good = format!("sudo test -e /boot/EFI/Linux/keelson_{version}.efi");
    machine.wait_until_succeeds(&good, PROVEN)?;
    Ok(())
}

/// Starts `update-agent apply` of a release beside what else goes on.
fn begin(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let apply = format!("update-agent apply {}", seen(version));
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
    let said =
        machine.succeed("sudo journalctl --unit=apply.service --boot --no-pager --lines=20 --output=cat")?;
    expect(state.trim() == "active", "an update that is installed", &said)
}

/// Leaves an installed version the last of its tries, as if two boots of it had failed. `update-roll-broken` takes all three.
fn last_try(machine: &Machine<'_>, version: &str) -> Result<(), Failure> {
    let entry = format!("/boot/EFI/Linux/keelson_{version}");
    machine.succeed(&format!(
        "sudo mv --no-clobber {entry}+3-0.efi {entry}+1-2.efi && sudo sync --file-system /boot"
    ))?;
    Ok(())
}

/// The folder of a release, as machines see it.
fn seen(version: &str) -> String {
    format!("{FOLDER}/{version}")
}

/// `/usr` is mapped through its hash tree.
fn verified(machine: &Machine<'_>) -> Result<(), Failure> {
    let source = machine.succeed("findmnt --noheadings --output SOURCE,FSTYPE /usr")?;
    expect(source.split_whitespace().eq(["/dev/mapper/usr", "erofs"]), "/dev/mapper/usr erofs", &source)
}
