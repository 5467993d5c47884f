//! Units that a machine cannot run: they run elsewhere, or the client gets the reason within seconds.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, shows};
use super::cluster::{Member, put, three};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const REFUSED: Scenario = Scenario {
    name: "fleet-refused",
    about: "a unit that a machine cannot run goes elsewhere, and one that none can run is no wait without a word",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: refused,
    ..USUAL
};

const HELLO: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
/// Path of an administrator's unit.
const OWN: &str = "/etc/systemd/system/hello.service";
/// fleetctl exits long before.
const NEVER: &str = "timeout 120";

fn refused(stage: &Stage<'_>) -> Result<(), Failure> {
    let [one, two, three] = three(stage)?;
    let typed = &three.machine;
    put(typed, "hello.service", HELLO)?;
    for member in [&one, &two, &three] {
        set_own(&member.machine, true)?;
    }
    taken_everywhere(typed)?;
    set_own(&three.machine, false)?;
    taken_on_some(typed, &three)?;
    texts(typed)?;
    no_machine(typed)
}

/// Creates or removes a local unit of that name.
fn set_own(machine: &Machine<'_>, own: bool) -> Result<(), Failure> {
    let change = if own {
        format!("printf '[Service]\\nExecStart=/usr/bin/sleep 1000\\n' | sudo tee {OWN}")
    } else {
        format!("sudo rm {OWN}")
    };
    machine.succeed(&format!("{change} && sudo systemctl daemon-reload"))?;
    Ok(())
}

/// Checks that the command fails with all of these messages.
fn fails(machine: &Machine<'_>, command: &str, said: &[&str]) -> Result<(), Failure> {
    let seen = machine.fail(&format!("{NEVER} {command}; code=$?; test $code = 1 && exit 1"))?;
    for text in said {
        expect(seen.contains(text), &format!("`{command}` to say {text:?}"), &seen)?;
    }
    Ok(())
}

fn taken_everywhere(typed: &Machine<'_>) -> Result<(), Failure> {
    let reason = "hello.service is a unit of this machine itself, by /etc/systemd/system/hello.service";
    let waiting = "Waiting for unit hello.service (until ctrl-C";
    let ended = "Error waiting for units: unit hello.service is not launched: ";
    fails(typed, "fleetctl start hello.service", &[waiting, ended, reason, "hint: "])?;
    // A second attempt fails immediately with the same message.
    fails(typed, "fleetctl start hello.service", &[ended, reason])?;
    fails(typed, "fleetctl status hello.service", &["does not appear to be loaded.\n", reason])?;
    let explained = typed.succeed("fleetctl explain hello.service")?;
    expect(explained.matches(reason).count() >= NODES, "the reason of each machine", &explained)?;
    let listed = typed.succeed("fleetctl list-units --no-legend --fields=unit,load,reason")?;
    expect(listed.contains("hello.service\tmasked\t") && listed.contains(reason), "the reason", &listed)?;
    // Logged on the first refusal, not on every attempt.
    let logged = typed.succeed(
        "journalctl --no-pager --unit fleet --grep 'Failed to load Unit.hello.service' --output cat | wc -l",
    )?;
    expect(logged.trim().parse::<u32>().is_ok_and(|lines| lines <= 3), "few lines in the journal", &logged)?;
    destroyed(typed, "hello.service")
}

/// Checks that no trace remains within seconds.
fn destroyed(typed: &Machine<'_>, name: &str) -> Result<(), Failure> {
    shows(typed, &format!("fleetctl destroy {name}"), &format!("Destroyed {name}\n"))?;
    typed.wait_until_succeeds("test -z \"$(fleetctl list-units --no-legend)\"", SOON)?;
    Ok(())
}

fn taken_on_some(typed: &Machine<'_>, free: &Member<'_>) -> Result<(), Failure> {
    let there = format!("Unit hello.service launched on {}\n", free.place());
    shows(typed, "fleetctl start hello.service 2>/dev/null", &there)?;
    // Machines that refused it are not listed next to the one that runs it.
    let row = format!("hello.service {} active running", free.place());
    let listed = "seen=$(fleetctl list-units --no-legend | xargs); echo \"$seen\"";
    typed.wait_until_succeeds(&format!("{listed}; test \"$seen\" = '{row}'"), SOON)?;
    destroyed(typed, "hello.service")
}

fn texts(typed: &Machine<'_>) -> Result<(), Failure> {
    for (name, text, said) in [
        ("empty.service", "[Service]\nType=simple\n", "Service has no ExecStart="),
        ("misspelt.service", "[Servce]\nExecStart=/usr/bin/sleep 1\n", "line 1: Unknown section 'Servce'"),
        (
            "wants.service",
            "[Unit]\nRequires=no-such.service\n[Service]\nExecStart=/usr/bin/sleep 9\n",
            "no-such.service",
        ),
    ] {
        put(typed, name, text)?;
        let ended = format!("Error waiting for units: unit {name} is not launched: on ");
        fails(typed, &format!("fleetctl start {name}"), &[&ended, said, "hint: "])?;
        let explained = typed.succeed(&format!("fleetctl explain {name}"))?;
        expect(explained.contains("it is here: ") && explained.contains(said), said, &explained)?;
        destroyed(typed, name)?;
    }
    put(typed, "nothing.service", "# nothing\n")?;
    fails(typed, "fleetctl start nothing.service", &["no option in any [Section]"])
}

fn no_machine(typed: &Machine<'_>) -> Result<(), Failure> {
    put(typed, "moon.service", &format!("{HELLO}[X-Fleet]\nMachineMetadata=place=moon\n"))?;
    let reason = "no machine is eligible: local Machine metadata insufficient: place is not moon but missing";
    fails(
        typed,
        "fleetctl start moon.service",
        &[reason, "hint: Machine(", "give the machine the metadata place=moon"],
    )?;
    fails(
        typed,
        "fleetctl start --block-attempts=2 moon.service",
        &["timed out waiting for unit moon.service"],
    )?;
    destroyed(typed, "moon.service")
}
