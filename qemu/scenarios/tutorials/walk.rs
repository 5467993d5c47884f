//! Commands of a newcomer beyond the tutorials, with wrong arguments and files: each gets an immediate answer with
//! a hint.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::{Nspawn, Qemu};
use machines::machine::Machine;
use machines::ready;

use super::super::fleet::TUTORIAL;
use super::super::kv::FORMED;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const WALK: Scenario = Scenario {
    name: "walk",
    about: "a newcomer's slips are answered at once, each with what to do about it",
    user_data: Some(TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: walk,
    ..DEFAULTS
};

pub const NO_DISCOVERY: Scenario = Scenario {
    name: "discovery-unreachable",
    about: "a machine whose discovery service does not answer says so while it boots, and starts the units that need no \
            etcd",
    user_data: Some(
        "#cloud-config\ncoreos:\n  etcd2: {discovery: 'http://127.0.0.1:9/token'}\n  units:\n\
         \x20 - {name: etcd2.service, command: start}\n  - {name: fleet.service, command: start}\n\
         \x20 - {name: alone.service, command: start, content: \"[Service]\\nExecStart=/bin/sleep inf\\n\"}\n",
    ),
    by_name_on: &[Qemu],
    run: no_discovery,
    ..DEFAULTS
};

/// None of these waits for anything.
const TIMEOUT: &str = "timeout 20";

fn walk(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    for unit in ["etcd.service", "fleet.service"] {
        machine.wait_for_unit(unit, FORMED)?;
    }
    cloudinit(&machine)?;
    validate(&machine)?;
    wrong_arguments(&machine)?;
    login(context, &machine)
}

fn no_discovery(context: &Context<'_>) -> Result<(), Failure> {
    let machine = context.machine(1);
    machine.power_on()?;
    let boot_status = || ready::boot_report(&context.site.layout().node(machine.name()).ready())?.status;
    let begun = Instant::now();
    let status = loop {
        let status = boot_status();
        if status.as_ref().is_some_and(|status| status.text.contains("retrying in")) {
            break status;
        }
        expect(begun.elapsed() < FORMED, "what the boot waits for", &format!("{status:?}"))?;
        std::thread::sleep(Duration::from_millis(500));
    };
    let unit = status.as_ref().map(|status| status.unit.as_str());
    // etcd2.service is an alias.
    expect(unit == Some("etcd.service"), "etcd.service to be waited for", &format!("{status:?}"))?;
    Ok(machine.wait_for_unit("alone.service", FORMED)?)
}

/// Returns the output on stdout and stderr of a command that must exit with this code.
fn output_of(machine: &Machine<'_>, command: &str, code: i32) -> Result<String, Failure> {
    let output = machine.execute(&format!("({TIMEOUT} {command}) 2>&1"))?;
    let actual = format!("{}\n{}", output.code, output.stdout);
    expect(output.code == code, &format!("`{command}` to end with {code}"), &actual)?;
    Ok(output.stdout)
}

fn contains(machine: &Machine<'_>, command: &str, code: i32, texts: &[&str]) -> Result<(), Failure> {
    let output = output_of(machine, command, code)?;
    for text in texts {
        expect(output.contains(text), &format!("`{command}` to say {text:?}"), &output)?;
    }
    Ok(())
}

fn cloudinit(machine: &Machine<'_>) -> Result<(), Failure> {
    let address = machine.node()?.address;
    let config = "#cloud-config\nwrite_files:\n  - path: /etc/my-address\n    content: $private_ipv4\n";
    machine.write("/home/core/mine.yaml", config.as_bytes())?;
    // As core, who may read everything public.
    let planned = output_of(machine, "coreos-cloudinit -plan -from-file mine.yaml", 0)?;
    expect(planned.contains("\"path\":\"/etc/my-address\""), "the step", &planned)?;
    contains(machine, "coreos-cloudinit -from-file=mine.yaml", 1, &["run it with sudo"])?;
    contains(machine, "coreos-cloudinit -plan -from-file=nosuch.yaml", 1, &["nosuch.yaml is not there"])?;
    contains(machine, "sudo coreos-cloudinit -from-file=nosuch.yaml", 1, &["nosuch.yaml is not there"])?;
    output_of(machine, "sudo coreos-cloudinit -from-file=mine.yaml", 0)?;
    let written = machine.succeed("cat /etc/my-address")?;
    expect(written.trim() == address.to_string(), "the machine's address", &written)
}

fn validate(machine: &Machine<'_>) -> Result<(), Failure> {
    let config = "#cloud-config\ncoreos:\n  etcd2: {name: a}\n  fleet: {metadata: disk=ssd}\n";
    machine.write("/home/core/good.yaml", config.as_bytes())?;
    let output = output_of(machine, "coreos-cloudinit -validate -from-file=good.yaml", 0)?;
    expect(!output.contains("deprecated"), "nothing of what this system has", &output)?;
    let config = "#cloud-config\ncoreos:\n  etcd2: {discovery: 'https://discovery.etcd.io/<token>'}\n  units:\n\
                  \x20   - name: a.service\n      command: go\n      content: |\n        [Unit]\n\
                  \x20       Description=a\n    - name: a.service\n      command: start\n";
    machine.write("/home/core/bad.yaml", config.as_bytes())?;
    let texts = [
        "line 3: warning: discovery URL still has a placeholder for its token",
        "line 6: error: invalid value go",
        "line 6: info: command is one of start, stop, restart",
        "warning: service has no ExecStart: systemd will not start it",
        "line 10: warning: unit a.service is there twice (first at line 5)",
    ];
    contains(machine, "coreos-cloudinit -validate -from-file=bad.yaml", 1, &texts)
}

fn wrong_arguments(machine: &Machine<'_>) -> Result<(), Failure> {
    contains(machine, "etcdctl put /a b", 0, &["No help topic for 'put'\n", "did you mean 'set'?"])?;
    contains(machine, "etcdctl gett /a", 0, &["did you mean 'get'?"])?;
    contains(
        machine,
        "fleetctl list_machines",
        2,
        &["unknown subcommand", "did you mean \"list-machines\"?"],
    )?;
    machine.write(
        "/home/core/both.service",
        b"[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=true\nMachineOf=b.service\n",
    )?;
    contains(machine, "fleetctl submit both.service", 1, &["MachineOf names a unit's peers"])?;
    machine.write("/home/core/bare.service", b"# nothing yet\n")?;
    contains(machine, "fleetctl start bare.service", 1, &["bare.service", "no option in any [Section]"])
}

fn login(context: &Context<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    let channel = context.site.cluster().image.channel;
    contains(machine, "/usr/lib/keelson/keelson-motd", 0, &[&format!(" {channel} (")])?;
    if context.backend == Nspawn {
        contains(machine, "update_engine_client -status", 1, &["container and is not updated"])?;
    }
    Ok(())
}
