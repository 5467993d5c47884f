//! The operator's commands.

use machines::machine::Machine;

use super::super::kv::{FORMED, SOON, USER_DATA, expect_output};
use machines::cluster::BackendKind::Qemu;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const COMMANDS: Scenario = Scenario {
    name: "locksmith-commands",
    about: "locksmithctl prints what it always printed, and the key is locksmith's to the byte",
    nodes: 1,
    user_data: Some(USER_DATA),
    by_name_on: &[Qemu],
    run: commands,
    ..DEFAULTS
};

const KEY: &str = "etcdctl get /coreos.com/updateengine/rebootlock/semaphore";

/// Checks the message and exit code of a command that fails.
fn refused(machine: &Machine<'_>, command: &str, expected: &str, code: i32) -> Result<(), Failure> {
    let output = machine.execute(command)?;
    let got = format!("{}{}", output.stdout, output.stderr);
    let is_expected = got == expected && i64::from(output.code) == i64::from(code);
    expect(
        is_expected,
        &format!("{command} to say {expected:?} and exit {code}"),
        &format!("{got:?}, {}", output.code),
    )
}

fn commands(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = &context.machine(1);
    machine.wait_for_unit("etcd.service", FORMED)?;
    expect_output(machine, "locksmithctl status", "Available: 1\nMax: 1\n")?;
    expect_output(machine, KEY, "{\"semaphore\":1,\"max\":1,\"holders\":null}\n")?;
    expect_output(machine, "locksmithctl lock", "")?;
    let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
    expect_output(machine, "locksmithctl status", &format!("Available: 0\nMax: 1\n\nMACHINE ID\n{id}\n"))?;
    expect_output(machine, KEY, &format!("{{\"semaphore\":0,\"max\":1,\"holders\":[\"{id}\"]}}\n"))?;
    refused(machine, "locksmithctl lock other", "Error locking: semaphore is at 0\n", 1)?;
    expect_output(machine, "locksmithctl set-max 4", "Old-Max: 1\nMax: 4\n")?;
    refused(machine, "locksmithctl lock", "Error locking: holder exists\n", 1)?;
    expect_output(machine, "locksmithctl lock 000", "")?;
    expect_output(
        machine,
        "locksmithctl status",
        &format!("Available: 2\nMax: 4\n\nMACHINE ID\n000\n{id}\n"),
    )?;
    expect_output(machine, "locksmithctl unlock 000", "")?;
    refused(machine, "locksmithctl unlock 000", "Error unlocking: holder does not exist\n", 1)?;
    expect_output(machine, "locksmithctl unlock", "")?;
    expect_output(machine, KEY, "{\"semaphore\":4,\"max\":4,\"holders\":[]}\n")?;
    expect_output(machine, "locksmithctl -group 'web servers' status", "Available: 1\nMax: 1\n")?;
    let group = "etcdctl get '/coreos.com/updateengine/rebootlock/groups/web+servers/semaphore'";
    expect_output(machine, group, "{\"semaphore\":1,\"max\":1,\"holders\":null}\n")?;
    refused(machine, "locksmithctl set-max", "New maximum value must be set.\n", 1)?;
    refused(machine, "locksmithctl set-max x", "Invalid maximum value: x\n", 1)?;
    refused(machine, "locksmithctl reboot", "Must be root to initiate reboot.\n", 1)?;
    let unknown = "locksmithctl: unknown subcommand: \"x\"\nRun 'locksmithctl help' for usage.\n";
    refused(machine, "locksmithctl x", unknown, 2)?;
    expect_output(machine, "locksmithctl -version", "locksmithctl version 0.6.2\n")?;
    // Only root may request a reboot; no locksmithd listens here anyway.
    expect_output(machine, "locksmithctl send-need-reboot", "")?;
    machine.succeed("sudo systemctl stop etcd.service")?;
    let away = machine.fail("locksmithctl status")?;
    expect(away.starts_with("Error initializing etcd client: "), "why it cannot be asked", &away)?;
    machine.succeed("sudo systemctl start etcd.service")?;
    machine.wait_until_succeeds("locksmithctl status", SOON)?;
    Ok(())
}
