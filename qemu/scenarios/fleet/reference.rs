//! The original's `fleetctl`, of any version, against our fleetd.

use std::path::PathBuf;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, shows};
use super::cluster::{Member, form_with, list_machines, put, user_data};
use super::commands::{HELLO, NO_UNITS};
use super::functional::ground::{API, ENDPOINT};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const REFERENCE: Scenario = Scenario {
    name: "fleet-reference",
    about: "the original's fleetctl does with our fleetd what the tutorials type, and sees what ours sees",
    nodes: NODES,
    shared: &[FOLDER],
    by_name_on: &[Qemu],
    run: reference,
    ..USUAL
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
        None => Err(Failure::NotHere(format!("{VARIABLE} names no fleetctl of the original's"))),
    }
}

fn reference(stage: &Stage<'_>) -> Result<(), Failure> {
    let (from, to) = (program()?, stage.shared(1).join("fleetctl"));
    std::fs::copy(&from, &to).map_err(|source| Failure::Disk { path: to, source })?;
    let members = form_with(stage, &user_data(&[], API))?;
    let [place, _, typed] = &members;
    let machine = &typed.machine;
    let version = machine.succeed(&format!("{FOLDER}/fleetctl version"))?;
    eprintln!("{}: {}", from.display(), version.trim());
    expect(version.starts_with("fleetctl version "), "its version", &version)?;

    put(machine, "hello.service", HELLO)?;
    says(machine, "list-machines", &list_machines(&members))?;
    says(machine, "list-units", NO_UNITS)?;
    submitted_and_loaded(machine, place)?;
    started(machine, place)?;
    looked_at(place)?;
    undone(machine, place)?;
    refusals(machine)
}

/// The command line on a machine.
fn fleetctl(words: &str) -> String {
    format!("{FOLDER}/fleetctl --endpoint {ENDPOINT} {words}")
}

/// Compares the output, without the line that releases since 0.11.3 print for a unit that exists.
fn says(machine: &Machine<'_>, words: &str, expected: &str) -> Result<(), Failure> {
    let said = machine.succeed(&format!("timeout 60 {}", fleetctl(words)))?;
    let known = |line: &&str| !words.starts_with("unload") && *line == "Unit hello.service inactive\n";
    let seen: String = said.split_inclusive('\n').filter(|line| !known(line)).collect();
    expect(seen == expected, &format!("`fleetctl {words}` to print {expected:?}"), &said)
}

fn submitted_and_loaded(machine: &Machine<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let place = place.place();
    says(machine, "submit hello.service", "")?;
    let listed = "UNIT\t\tHASH\tDSTATE\t\tSTATE\t\tTARGET\nhello.service\te55c0ae\tinactive\tinactive\t-\n";
    says(machine, "list-unit-files", listed)?;
    says(machine, "list-units", NO_UNITS)?;
    says(machine, "load hello.service", &format!("Unit hello.service loaded on {place}\n"))?;
    let listed =
        format!("UNIT\t\tHASH\tDSTATE\tSTATE\tTARGET\nhello.service\te55c0ae\tloaded\tloaded\t{place}\n");
    says(machine, "list-unit-files", &listed)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\t\tSUB\nhello.service\t{place}\tinactive\tdead\n");
    says(machine, "list-units", &listed)?;
    says(machine, "cat hello.service", HELLO)
}

fn started(machine: &Machine<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let place = place.place();
    says(machine, "start hello.service", &format!("Unit hello.service launched on {place}\n"))?;
    machine.wait_until_succeeds(&format!("{} | grep -q running", fleetctl("list-units")), SOON)?;
    let listed = format!("UNIT\t\tMACHINE\t\t\tACTIVE\tSUB\nhello.service\t{place}\tactive\trunning\n");
    says(machine, "list-units", &listed)?;
    shows(machine, "fleetctl list-units", &listed)
}

/// On the unit's machine, where the original needs no ssh.
fn looked_at(place: &Member<'_>) -> Result<(), Failure> {
    let say = |words: &str| place.machine.succeed(&format!("timeout 60 {}", fleetctl(words)));
    let status = say("status hello.service")?;
    expect(status.contains("Active: active (running) since "), "a status", &status)?;
    let journal = say("journal --lines 3 hello.service")?;
    let lines = journal.lines().filter(|line| line.ends_with(": Hello, world")).count();
    expect(lines == 3, "three lines of the journal", &journal)
}

fn undone(machine: &Machine<'_>, place: &Member<'_>) -> Result<(), Failure> {
    let stopped = format!("Unit hello.service loaded on {}\n", place.place());
    says(machine, "stop hello.service", &stopped)?;
    place.machine.wait_until_fails("systemctl is-active hello.service", SOON)?;
    says(machine, "unload hello.service", "Unit hello.service inactive\n")?;
    says(machine, "destroy hello.service", "Destroyed hello.service\n")?;
    says(machine, "list-unit-files", "UNIT\tHASH\tDSTATE\tSTATE\tTARGET\n")
}

/// Our fleetd's error messages, through its client.
fn refusals(machine: &Machine<'_>) -> Result<(), Failure> {
    put(machine, "odd.service", "[X-Fleet]\nMachineID=x\nGlobal=true\n")?;
    put(machine, "web@.service", HELLO)?;
    let check = |words: &str, said: &str| -> Result<(), Failure> {
        let seen = machine.fail(&format!("timeout 60 {}", fleetctl(words)))?;
        expect(seen.contains(said), &format!("`fleetctl {words}` to say {said:?}"), &seen)
    };
    check("submit odd.service", "MachineID cannot be used with Global")?;
    check(
        "submit nope.service",
        "Error creating units: unable to find Unit(nope.service) in Registry or on filesystem",
    )?;
    check("start web@.service", "cannot activate template \"web@.service\"")
}
