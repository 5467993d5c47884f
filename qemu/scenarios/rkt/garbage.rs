//! `rkt-gc.service`.

use machines::machine::Machine;

use super::super::fleet::cluster::Member;
use super::super::kv::SOON;
use super::super::kv::expect_output;
use super::images::state;
use super::units::Web;
use crate::failure::{Failure, expect};

const START: &str = "sudo systemctl start rkt-gc.service";

/// Where rkt was never used, nothing is started or created.
pub fn never_used(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("systemctl is-active rkt-gc.timer")?;
    machine.succeed(START)?;
    expect_output(machine, "systemctl show -P ConditionResult rkt-gc.service", "no\n")?;
    machine.succeed("test ! -e /var/lib/rkt").map(drop).map_err(Failure::from)
}

const NOW: &[u8] = b"[Service]\nEnvironment=GRACE_PERIOD=0s IMAGE_GRACE_PERIOD=0s\n";
const IMAGES: &str = "sudo rkt image list --no-legend --fields=name";
const IMAGE: &str = "docker.io/library/busybox:latest\n";

/// The service removes pods that have exited, with what a killed rkt left, and images that no pod uses.
pub fn collected(web: &Web<'_>, spare: Option<&Member<'_>>) -> Result<(), Failure> {
    let machine = web.machine();
    // Tables of other pods than the unit's.
    let left = "sudo nft list tables | grep -o 'rkt-.*' | grep -v $(sudo cat /run/web.uuid)";
    let run = "rkt run docker://busybox --exec=/bin/sleep -- 1000000";
    machine.succeed(&format!("sudo systemd-run --quiet --unit=left {run}"))?;
    let table = machine.wait_until_succeeds(left, SOON)?;
    let uuid = table.trim().trim_start_matches("rkt-");
    machine.succeed("sudo systemctl kill --signal=KILL left.service")?;
    machine.wait_until_succeeds("test $(systemctl is-active left.service) = failed", SOON)?;
    machine.succeed("sudo systemctl reset-failed left.service")?;
    state(machine, uuid, "exited")?;
    expect_output(machine, left, &table)?;
    // With its own periods, everything is too young.
    machine.succeed(START)?;
    state(machine, uuid, "exited garbage")?;
    collect_now(machine)?;
    let pods = machine.succeed("sudo rkt list --full --no-legend")?;
    expect(pods.lines().count() == 1 && pods.starts_with(&web.uuid), "the unit's pod", &pods)?;
    machine.fail(left)?;
    machine.succeed(&format!("journalctl -u rkt-gc.service | grep 'removed pod {uuid}'"))?;
    // The unit's pod uses it.
    expect_output(machine, IMAGES, IMAGE)?;
    expect_output(machine, &format!("systemctl is-active {}", web.unit), "active\n")?;
    let Some(spare) = spare else { return Ok(()) };
    expect_output(&spare.machine, IMAGES, IMAGE)?;
    collect_now(&spare.machine)?;
    expect_output(&spare.machine, IMAGES, "")
}

/// Runs the service with a drop-in as the docs have it.
fn collect_now(machine: &Machine<'_>) -> Result<(), Failure> {
    let folder = "/etc/systemd/system/rkt-gc.service.d";
    machine.succeed(&format!("sudo mkdir {folder}"))?;
    machine.write(&format!("{folder}/10-periods.conf"), NOW)?;
    machine.succeed(&format!("sudo systemctl daemon-reload && {START}"))?;
    machine
        .succeed(&format!("sudo rm -r {folder} && sudo systemctl daemon-reload"))
        .map(drop)
        .map_err(Failure::from)
}
