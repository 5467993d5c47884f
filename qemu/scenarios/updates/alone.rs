//! One machine: to the next version, back from one that does not boot, and back by hand.

use machines::cluster::BackendKind::Qemu;

use super::versions::{Fault, Keys, release};
use super::{APPLIED, FELL_BACK, FOLDER, apply, begin, proven, runs, seen, trust, verified};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const UPDATE: Scenario = Scenario {
    name: "update",
    about: "a machine whose plug is pulled in the middle goes to the next version all the same, and falls back from one that does not boot",
    on: &[Qemu],
    shared: &[FOLDER],
    long_on: &[Qemu],
    run: update,
    ..USUAL
};

const SECOND: &str = "9999.2.0";
const BROKEN: &str = "9999.3.0";

fn update(stage: &Stage<'_>) -> Result<(), Failure> {
    let releases = stage.shared(1);
    let keys = Keys::make(&stage.site.layout().root().join("keys"))?;
    release(stage.run, &keys, SECOND, Fault::None, &[], &releases)?;
    release(stage.run, &keys, BROKEN, Fault::DoesNotBoot, &[SECOND], &releases)?;
    stage.boot()?;
    let machine = stage.machine(1);
    let first = stage.run.image.version.as_str();
    let idle = "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\nNEW_SIZE=0\n";
    let status = machine.succeed("update_engine_client -status 2>/dev/null")?;
    expect(status == idle, idle, &status)?;
    // Nothing that nobody vouched for.
    let refused = machine.fail(&format!("sudo update-agent apply {} 2>&1", seen(SECOND)))?;
    expect(refused.contains("no key"), "a refusal without a key", &refused)?;
    trust(&machine, &keys)?;
    proven(&machine, first)?;

    // To the next one, after the plug was pulled in the middle.
    begin(&machine, SECOND)?;
    machine.wait_until_succeeds("sudo test -e /boot/EFI/Linux/.keelson-update.tmp", APPLIED)?;
    machine.crash()?;
    machine.start()?;
    runs(&machine, first)?;
    apply(&machine, SECOND)?;
    let status = machine.succeed("update_engine_client -status 2>/dev/null")?;
    expect(status.contains("UPDATED_NEED_REBOOT\nNEW_VERSION=9999.2.0\n"), "it waits for a reboot", &status)?;
    machine.succeed("echo kept | sudo tee /var/lib/kept")?;
    machine.reboot()?;
    runs(&machine, SECOND)?;
    verified(&machine)?;
    proven(&machine, SECOND)?;
    let slots = machine.succeed("sudo update-agent slots")?;
    let rows: Vec<Vec<&str>> = slots.lines().map(|line| line.split_whitespace().collect()).collect();
    let wanted = [
        vec!["SLOT", "VERSION", "PRIORITY", "TRIES", "SUCCESSFUL", "RUNNING"],
        vec!["a", first, "1", "0", "1"],
        vec!["b", SECOND, "2", "0", "1", "yes"],
    ];
    expect(rows == wanted, &format!("{wanted:?}"), &slots)?;

    // To one that does not boot, and back without anybody's help.
    apply(&machine, BROKEN)?;
    let mark = machines::ready::mark(&stage.site.layout().node(machine.name()).ready());
    // It may go before it says so.
    drop(machine.execute("sudo systemctl --no-block reboot"));
    stage.site.wait_ready(machine.name(), &mark, FELL_BACK)?;
    runs(&machine, SECOND)?;
    let status = "sudo update-agent status";
    machine.wait_until_succeeds(&format!("{status} | grep '{BROKEN}: it did not come up'"), APPLIED)?;
    let again = machine.fail(&format!("sudo update-agent apply {} 2>&1", seen(BROKEN)))?;
    expect(again.contains("is not wanted on this machine"), "a ban", &again)?;
    let kept = machine.read("/var/lib/kept")?;
    expect(kept == "kept\n", "kept", &kept)
}
