//! The original's `fleetctl`, of any version, against our fleetd.

use std::path::PathBuf;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{Member, form_with, list_machines, put, user_data};
use super::commands::{HELLO, NO_UNITS};
use super::functional::fixture::{API, ENDPOINT};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const REFERENCE: Scenario = Scenario {
    name: "fleet-reference",
    about: "the original's fleetctl does with our fleetd what the tutorials type, and sees what ours sees",
    nodes: NODES,
    shared: &[FOLDER],
    by_name_on: &[Qemu],
    run: reference,
    ..DEFAULTS
};

/// Path of the program, which no distribution packages any more.
const VARIABLE: &str = "KEELSON_REFERENCE_FLEETCTL";
/// Guest path of the folder with the program.
const FOLDER: &str = "/home/core/reference";

fn program() -> Result<PathBuf, Failure> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    match named {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(Failure::Expected(format!(
            "expected the original's fleetctl where {VARIABLE} says; seen: no file {}",
            path.display()
        ))),
        None => Err(Failure::Unavailable(format!("{VARIABLE} names no fleetctl of the original's"))),
    }
}

fn reference(context: &Context<'_>) -> Result<(), Failure> {
    let (from, to) = (program()?, context.shared(1).join("fleetctl"));
    std::fs::copy(&from, &to).map_err(|source| Failure::Disk { path: to, source })?;
    let members = form_with(context, &user_data(&[], API))?;
    let [location, _, client] = &members;
    let machine = &client.machine;
    let version = machine.succeed(&format!("{FOLDER}/fleetctl version"))?;
    eprintln!("{}: {}", from.display(), version.trim());
    expect(version.starts_with("fleetctl version "), "its version", &version)?;

    put(machine, "hello.service", HELLO)?;
    expect_fleetctl(machine, "list-machines", &list_machines(&members))?;
    expect_fleetctl(machine, "list-units", NO_UNITS)?;
    submitted_and_loaded(machine, location)?;
    started(machine, location)?;
    inspected(location)?;
    stopped_and_destroyed(machine, location)?;
    refusals(machine)
}

/// The command line on a machine.
fn fleetctl(arguments: &str) -> String {
    format!("{FOLDER}/fleetctl --endpoint {ENDPOINT} {arguments}")
}

/// Compares the output, without the line that releases since 0.11.3 print for a unit that exists.
fn expect_fleetctl(machine: &Machine<'_>, arguments: &str, expected: &str) -> Result<(), Failure> {
    let output = machine.succeed(&format!("timeout 60 {}", fleetctl(arguments)))?;
    let known = |line: &&str| !arguments.starts_with("unload") && *line == "Unit hello.service inactive\n";
    let filtered: String = output.split_inclusive('\n').filter(|line| !known(line)).collect();
    expect(filtered == expected, &format!("`fleetctl {arguments}` to print {expected:?}"), &output)
}

fn submitted_and_loaded(machine: &Machine<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let location = location.location();
    expect_fleetctl(machine, "submit hello.service", "")?;
    let listed = "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\te55c0ae\tinactive\tinactive\t-\n";
    expect_fleetctl(machine, "list-unit-files", listed)?;
    expect_fleetctl(machine, "list-units", NO_UNITS)?;
    expect_fleetctl(machine, "load hello.service", &format!("Unit hello.service loaded on {location}\n"))?;
    let listed =
        format!("UNIT\t\tHASH\tDSTATE\tSTATE\tTARGET\nhello.service\te55c0ae\tloaded\tloaded\t{location}\n");
    expect_fleetctl(machine, "list-unit-files", &listed)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\t\tSUB\nhello.service\t{location}\tinactive\tdead\n");
    expect_fleetctl(machine, "list-units", &listed)?;
    expect_fleetctl(machine, "cat hello.service", HELLO)
}

fn started(machine: &Machine<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let location = location.location();
    expect_fleetctl(machine, "start hello.service", &format!("Unit hello.service launched on {location}\n"))?;
    machine.wait_until_succeeds(&format!("{} | grep -q running", fleetctl("list-units")), SOON)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t{location}\tactive\trunning\n");
    expect_fleetctl(machine, "list-units", &listed)?;
    expect_output(machine, "fleetctl list-units", &listed)
}

/// On the unit's machine, where the original needs no ssh.
fn inspected(location: &Member<'_>) -> Result<(), Failure> {
    let run = |arguments: &str| location.machine.succeed(&format!("timeout 60 {}", fleetctl(arguments)));
    let status = run("status hello.service")?;
    expect(status.contains("Active: active (running) since "), "a status", &status)?;
    let journal = run("journal --lines 3 hello.service")?;
    let lines = journal.lines().filter(|line| line.ends_with(": Hello, world")).count();
    expect(lines == 3, "three lines of the journal", &journal)
}

fn stopped_and_destroyed(machine: &Machine<'_>, location: &Member<'_>) -> Result<(), Failure> {
    let stopped = format!("Unit hello.service loaded on {}\n", location.location());
    expect_fleetctl(machine, "stop hello.service", &stopped)?;
    location.machine.wait_until_fails("systemctl is-active hello.service", SOON)?;
    expect_fleetctl(machine, "unload hello.service", "Unit hello.service inactive\n")?;
    expect_fleetctl(machine, "destroy hello.service", "Destroyed hello.service\n")?;
    expect_fleetctl(machine, "list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}

/// Our fleetd's error messages, through its client.
fn refusals(machine: &Machine<'_>) -> Result<(), Failure> {
    put(machine, "odd.service", "[X-Fleet]\nMachineID=x\nGlobal=true\n")?;
    put(machine, "web@.service", HELLO)?;
    let check = |arguments: &str, output: &str| -> Result<(), Failure> {
        let filtered = machine.fail(&format!("timeout 60 {}", fleetctl(arguments)))?;
        expect(filtered.contains(output), &format!("`fleetctl {arguments}` to say {output:?}"), &filtered)
    };
    check("submit odd.service", "MachineID cannot be used with Global")?;
    check(
        "submit nope.service",
        "Error creating units: unable to find Unit(nope.service) in Registry or on filesystem",
    )?;
    check("start web@.service", "cannot activate template \"web@.service\"")
}
