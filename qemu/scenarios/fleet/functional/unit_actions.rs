//! Commands that run on a unit's machine, and what systemd does with a unit's `[Install]` section.

use super::ground::{Ground, LINE, SERVICE};
use crate::failure::{Failure, expect};

/// Is installed into hello.service and bound to it.
const SIDEKICK: &str = "
[Install]
WantedBy=hello.service

[X-Fleet]
MachineOf=hello.service
";
const BOUND: &str = "[Unit]\nBindsTo=hello.service\nAfter=hello.service\n";

/// For a unit on another machine than the one that runs fleetctl.
pub fn unit_ssh_actions(ground: &Ground<'_>) -> Result<(), Failure> {
    let unit = format!("on@{}", ground.members[1].machine.name());
    ground.fleetctl(&format!("start {unit}"))?;
    ground.active(1)?;
    let said = ground.fleetctl_by_ssh(&format!("ssh {unit} echo foo"))?;
    expect(said == "foo\n", "foo", &said)?;
    let status = ground.fleetctl_by_ssh(&format!("status {unit}"))?;
    expect(status.contains("Active: active"), "an active unit", &status)?;
    let journal = || ground.fleetctl_by_ssh(&format!("journal --sudo {unit}"));
    ground.until(LINE, journal, |journal| journal.contains(LINE))?;
    Ok(())
}

pub fn unit_status(ground: &Ground<'_>) -> Result<(), Failure> {
    let unit = format!("on@{}", ground.members[1].machine.name());
    ground.fleetctl(&format!("load {unit}"))?;
    ground.loaded(1)?;
    // systemd's exit code for an inactive unit.
    let command = format!("fleetctl --strict-host-key-checking=false status {unit}");
    let status = ground.typed().execute(&super::super::cluster::with_agent(&command))?;
    let good = status.code == 3 && status.stdout.contains("Loaded: loaded");
    expect(
        good,
        "a loaded unit, and exit code 3",
        &format!("{}: {}{}", status.code, status.stdout, status.stderr),
    )
}

pub fn install_unit(ground: &Ground<'_>) -> Result<(), Failure> {
    let text = SERVICE.replace("[Unit]\n", BOUND) + SIDEKICK;
    ground.write("sidekick.service", &text)?;
    ground.says("fleetctl load hello.service sidekick.service")?;
    let rows = ground.loaded(2)?;
    let together = rows.iter().all(|row| !row.active && row.machine == rows[0].machine);
    expect(together, "both inactive on one machine", &format!("{rows:?}"))?;
    ground.fleetctl("start hello")?;
    // fleet only loads it; systemd starts it.
    ground.active(2)?;
    let state = ground
        .says("fleetctl list-unit-files --no-legend --fields=unit,dstate,state | grep sidekick | xargs")?;
    expect(state == "sidekick.service loaded loaded\n", "a unit that is loaded only", &state)?;
    ground.fleetctl("stop hello")?;
    ground.active(0)?;
    ground.loaded(2)?;
    Ok(())
}
