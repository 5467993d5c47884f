//! Units that a machine cannot run: they run elsewhere, or the client gets the reason within seconds.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{Member, form_three, put};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const REFUSED: Scenario = Scenario {
    name: "fleet-refused",
    about: "a unit that a machine cannot run goes elsewhere, and one that none can run is no wait without a word",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: refused,
    ..DEFAULTS
};

const HELLO: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
/// Path of an administrator's unit.
const OWN: &str = "/etc/systemd/system/hello.service";
/// fleetctl exits long before.
const NEVER: &str = "timeout 120";

fn refused(context: &Context<'_>) -> Result<(), Failure> {
    let [one, two, three] = form_three(context)?;
    let client = &three.machine;
    put(client, "hello.service", HELLO)?;
    for member in [&one, &two, &three] {
        set_own(&member.machine, true)?;
    }
    taken_everywhere(client)?;
    set_own(&three.machine, false)?;
    taken_on_some(client, &three)?;
    texts(client)?;
    no_machine(client)
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
fn expect_failure(machine: &Machine<'_>, command: &str, messages: &[&str]) -> Result<(), Failure> {
    let output = machine.fail(&format!("{NEVER} {command}; code=$?; test $code = 1 && exit 1"))?;
    for text in messages {
        expect(output.contains(text), &format!("`{command}` to say {text:?}"), &output)?;
    }
    Ok(())
}

fn taken_everywhere(client: &Machine<'_>) -> Result<(), Failure> {
    let reason = "hello.service is a unit of this machine itself, by /etc/systemd/system/hello.service";
    let waiting = "Waiting for unit hello.service (until ctrl-C";
    let ended = "Error waiting for units: unit hello.service is not launched: ";
    expect_failure(client, "fleetctl start hello.service", &[waiting, ended, reason, "hint: "])?;
    // A second attempt fails immediately with the same message.
    expect_failure(client, "fleetctl start hello.service", &[ended, reason])?;
    expect_failure(client, "fleetctl status hello.service", &["does not appear to be loaded.\n", reason])?;
    let explained = client.succeed("fleetctl explain hello.service")?;
    expect(explained.matches(reason).count() >= NODES, "the reason of each machine", &explained)?;
    let listed = client.succeed("fleetctl list-units --no-legend --fields=unit,load,reason")?;
    expect(listed.contains("hello.service\tmasked\t") && listed.contains(reason), "the reason", &listed)?;
    // Logged on the first refusal, not on every attempt.
    let logged = client.succeed(
        "journalctl --no-pager --unit fleet --grep 'Failed to load Unit.hello.service' --output cat | wc -l",
    )?;
    expect(logged.trim().parse::<u32>().is_ok_and(|lines| lines <= 3), "few lines in the journal", &logged)?;
    destroyed(client, "hello.service")
}

/// Checks that no trace remains within seconds.
fn destroyed(client: &Machine<'_>, name: &str) -> Result<(), Failure> {
    expect_output(client, &format!("fleetctl destroy {name}"), &format!("Destroyed {name}\n"))?;
    client.wait_until_succeeds("test -z \"$(fleetctl list-units --no-legend)\"", SOON)?;
    Ok(())
}

fn taken_on_some(client: &Machine<'_>, free: &Member<'_>) -> Result<(), Failure> {
    let launched = format!("Unit hello.service launched on {}\n", free.location());
    expect_output(client, "fleetctl start hello.service 2>/dev/null", &launched)?;
    // Machines that refused it are not listed next to the one that runs it.
    let row = format!("hello.service {} active running", free.location());
    let listed = "seen=$(fleetctl list-units --no-legend | xargs); echo \"$seen\"";
    client.wait_until_succeeds(&format!("{listed}; test \"$seen\" = '{row}'"), SOON)?;
    destroyed(client, "hello.service")
}

fn texts(client: &Machine<'_>) -> Result<(), Failure> {
    for (name, text, messages) in [
        ("empty.service", "[Service]\nType=simple\n", "Service has no ExecStart="),
        ("misspelt.service", "[Servce]\nExecStart=/usr/bin/sleep 1\n", "line 1: Unknown section 'Servce'"),
        (
            "wants.service",
            "[Unit]\nRequires=no-such.service\n[Service]\nExecStart=/usr/bin/sleep 9\n",
            "no-such.service",
        ),
    ] {
        put(client, name, text)?;
        let ended = format!("Error waiting for units: unit {name} is not launched: on ");
        expect_failure(client, &format!("fleetctl start {name}"), &[&ended, messages, "hint: "])?;
        let explained = client.succeed(&format!("fleetctl explain {name}"))?;
        expect(explained.contains("it is here: ") && explained.contains(messages), messages, &explained)?;
        destroyed(client, name)?;
    }
    put(client, "nothing.service", "# nothing\n")?;
    expect_failure(client, "fleetctl start nothing.service", &["no option in any [Section]"])
}

fn no_machine(client: &Machine<'_>) -> Result<(), Failure> {
    put(client, "moon.service", &format!("{HELLO}[X-Fleet]\nMachineMetadata=place=moon\n"))?;
    let reason = "no machine is eligible: local Machine metadata insufficient: place is not moon but missing";
    expect_failure(
        client,
        "fleetctl start moon.service",
        &[reason, "hint: Machine(", "give the machine the metadata place=moon"],
    )?;
    expect_failure(
        client,
        "fleetctl start --block-attempts=2 moon.service",
        &["timed out waiting for unit moon.service"],
    )?;
    destroyed(client, "moon.service")
}
