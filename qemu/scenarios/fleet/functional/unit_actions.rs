//! Commands that run on a unit's machine, and what systemd does with a unit's `[Install]` section.

use super::fixture::{Fixture, LINE, SERVICE};
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
pub fn unit_ssh_actions(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let unit = format!("on@{}", fixture.members[1].machine.name());
    fixture.fleetctl(&format!("start {unit}"))?;
    fixture.active(1)?;
    let output = fixture.fleetctl_by_ssh(&format!("ssh {unit} echo foo"))?;
    expect(output == "foo\n", "foo", &output)?;
    let status = fixture.fleetctl_by_ssh(&format!("status {unit}"))?;
    expect(status.contains("Active: active"), "an active unit", &status)?;
    let journal = || fixture.fleetctl_by_ssh(&format!("journal --sudo {unit}"));
    fixture.until(LINE, journal, |journal| journal.contains(LINE))?;
    Ok(())
}

pub fn unit_status(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let unit = format!("on@{}", fixture.members[1].machine.name());
    fixture.fleetctl(&format!("load {unit}"))?;
    fixture.loaded(1)?;
    // systemd's exit code for an inactive unit.
    let command = format!("fleetctl --strict-host-key-checking=false status {unit}");
    let status = fixture.client().execute(&super::super::cluster::with_agent(&command))?;
    let is_inactive = status.code == 3 && status.stdout.contains("Loaded: loaded");
    expect(
        is_inactive,
        "a loaded unit, and exit code 3",
        &format!("{}: {}{}", status.code, status.stdout, status.stderr),
    )
}

pub fn install_unit(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let text = SERVICE.replace("[Unit]\n", BOUND) + SIDEKICK;
    fixture.write("sidekick.service", &text)?;
    fixture.run("fleetctl load hello.service sidekick.service")?;
    let rows = fixture.loaded(2)?;
    let together = rows.iter().all(|row| !row.active && row.machine == rows[0].machine);
    expect(together, "both inactive on one machine", &format!("{rows:?}"))?;
    fixture.fleetctl("start hello")?;
    // fleet only loads it; systemd starts it.
    fixture.active(2)?;
    let state = fixture
        .run("fleetctl list-unit-files --no-legend --fields=unit,dstate,state | grep sidekick | xargs")?;
    expect(state == "sidekick.service loaded loaded\n", "a unit that is loaded only", &state)?;
    fixture.fleetctl("stop hello")?;
    fixture.active(0)?;
    fixture.loaded(2)?;
    Ok(())
}
