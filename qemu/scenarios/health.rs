//! Health checks: what a good boot requires, and what happens to one that is not. `updates` shows the fallback from
//! an unhealthy new version.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

/// Limit for the checks after a boot.
const CHECKED: Duration = Duration::from_secs(180);
const REPORT: &str = "/run/keelson/health.json";
const TARGET: &str = "boot-complete.target";

pub const HEALTH: Scenario = Scenario {
    name: "health",
    about: "a boot counts as good when all checks pass, and one that does not is told, on a machine that stays up",
    user_data: Some(include_str!("../user-data/health.yaml")),
    long_on: &[Qemu],
    run: health,
    ..DEFAULTS
};

fn health(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    machine.wait_until_succeeds(&format!("systemctl is-active {TARGET}"), CHECKED)?;
    let report = machine.read(REPORT)?;
    expect(report.contains("\"state\": \"healthy\""), "a healthy machine", &report)?;
    let banner = banner(&machine)?;
    expect(banner.starts_with("Keelson "), "the system's name", &banner)?;
    expect(banner.contains("\nUpdate Strategy: best-effort\n"), "the strategy", &banner)?;
    expect(!banner.contains("Failed Units") && !banner.contains("Not healthy"), "nothing wrong", &banner)?;

    own_checks(&machine)?;
    failed_unit(&machine)?;
    member(&machine)?;
    next_boot(&machine)
}

/// The banner of a login shell.
fn banner(machine: &Machine<'_>) -> Result<String, Failure> {
    Ok(machine.succeed("bash -lic true 2>/dev/null")?)
}

/// Checks the machine again; `reset-failed` resets systemd's start limit of five in ten seconds.
const AGAIN: &str = "sudo systemctl stop boot-complete.target keelson-health-check.service; \
    sudo systemctl reset-failed keelson-health-check.service; sudo systemctl start boot-complete.target";

fn is_good(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(AGAIN)?;
    machine.succeed(&format!("systemctl is-active {TARGET}"))?;
    Ok(())
}

/// Checks that the target is not reached, and that the journal's last error gives the reason.
fn is_bad(machine: &Machine<'_>, why: &str) -> Result<(), Failure> {
    machine.fail(AGAIN)?;
    machine.fail(&format!("systemctl is-active {TARGET}"))?;
    let message =
        machine.succeed("sudo journalctl -b -p err -t keelson-health-check -o cat --no-pager | tail -n 1")?;
    let expected = format!("this machine is not healthy: {why}");
    expect(message.starts_with(&expected), &expected, &message)?;
    expect(message.contains("; this machine stays up because "), "no restart", &message)?;
    let report = machine.read(REPORT)?;
    expect(report.contains("\"state\": \"unhealthy\""), "an unhealthy machine", &report)
}

fn own_checks(machine: &Machine<'_>) -> Result<(), Failure> {
    let folder = "/etc/keelson/health.d";
    machine.succeed(&format!("sudo mkdir -p {folder}/wanted.d"))?;
    machine.write(&format!("{folder}/10-disk"), b"#!/bin/sh\necho the disk is full\nexit 1\n")?;
    machine.succeed(&format!("sudo chmod 755 {folder}/10-disk"))?;
    is_bad(machine, "10-disk: exit status 1: the disk is full")?;
    let by_name = "sudo journalctl -b KEELSON_HEALTH_CHECK=10-disk -o cat --no-pager";
    let lines = machine.succeed(by_name)?;
    expect(lines.contains("10-disk: the disk is full\n"), "the check's own words, by its name", &lines)?;
    let banner = banner(machine)?;
    expect(banner.contains("\nNot healthy: 10-disk: exit status 1"), "the banner to say so", &banner)?;

    machine.succeed(&format!("sudo mv {folder}/10-disk {folder}/wanted.d/"))?;
    is_good(machine)?;
    let lines =
        machine.succeed("sudo journalctl -b KEELSON_HEALTH_CHECK=wanted.d/10-disk -o cat --no-pager")?;
    expect(lines.contains("wanted.d/10-disk: failed: exit status 1"), "what is only wanted is told", &lines)?;
    machine.succeed(&format!("sudo rm {folder}/wanted.d/10-disk"))?;

    machine.write(&format!("{folder}/20-hangs"), b"#!/bin/sh\nexec sleep 1000\n")?;
    machine.succeed(&format!("sudo chmod 755 {folder}/20-hangs"))?;
    is_bad(machine, "20-hangs: did not exit within 5 s")?;
    machine.succeed(&format!("sudo rm {folder}/20-hangs"))?;
    is_good(machine)
}

fn failed_unit(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.fail("sudo systemd-run --quiet --wait --unit=broken.service /bin/false")?;
    is_bad(machine, "units: failed, but not in the last good boot: broken.service")?;
    let banner = banner(machine)?;
    let unit = "\nFailed Units: 2\n  broken.service\n  keelson-health-check.service\n";
    expect(banner.contains(unit), unit, &banner)?;
    machine.succeed("sudo systemctl reset-failed broken.service")?;
    is_good(machine)
}

fn member(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("sudo systemctl start etcd.service")?;
    is_good(machine)?;
    let report = machine.read(REPORT)?;
    expect(report.contains("etcd.service is healthy at "), "the member to be asked", &report)?;
    machine.succeed("sudo systemctl kill --signal=STOP etcd.service")?;
    is_bad(machine, "kv: etcd.service does not respond to /health")?;
    machine.succeed("sudo systemctl kill --signal=CONT etcd.service")?;
    is_good(machine)
}

fn next_boot(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.write(
        "/etc/systemd/system/broken.service",
        b"[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n",
    )?;
    machine.succeed("sudo systemctl enable broken.service && sync")?;
    // Ready but not good: readiness does not depend on the checks.
    machine.reboot()?;
    machine.wait_until_succeeds(&format!("grep -q unhealthy {REPORT}"), CHECKED)?;
    machine.fail(&format!("systemctl is-active {TARGET}"))?;
    machine.succeed("sudo systemctl disable broken.service && sudo systemctl reset-failed broken.service")?;
    // As the timer does.
    machine.succeed("sudo systemctl start keelson-health-check.service")?;
    machine.wait_until_succeeds(&format!("systemctl is-active {TARGET}"), CHECKED)?;
    Ok(())
}
