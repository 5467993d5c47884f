//! Limits of units: names, lengths, contents, and units that systemd cannot run.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{Member, form_with, put, ttl, user_data};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;

pub const LIMITS: Scenario = Scenario {
    name: "fleet-limits",
    about: "what no unit can be is refused with its place and leaves nothing; a bad unit disturbs no other one",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: limits,
    ..DEFAULTS
};

/// Maximal size of a unit file in bytes.
const LONGEST: usize = 1024 * 1024;
/// On an emulated machine, where etcd needs longer than fleetd's 2.5 s for a megabyte.
const LONGEST_EMULATED: usize = LONGEST / 8;
const STEADY: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

fn limits(context: &Context<'_>) -> Result<(), Failure> {
    let slowdown = slowdown();
    let settings =
        [format!("agent-ttl: {}s", ttl(context).as_secs()), format!("etcd-request-timeout: {slowdown:.1}")];
    let [one, two, three] = form_with(context, &user_data(&settings, ""))?;
    let client = &three.machine;
    let before = stored(client)?;
    let nothing = || expect(stored(client)? == before, "nothing of what was refused", &stored(client)?);
    let parts = [
        ("names", names(client)),
        ("lines", bad_lines(client)),
        ("length", too_long(client)),
        ("store", nothing()),
        ("longest", longest(client, &one, longest_on(context), slowdown)),
        ("hopeless", never_active(client, &two, max_share(context))),
    ];
    // All parts run even if some fail.
    let failed =
        |(part, result): (&str, Result<(), Failure>)| Some(format!("{part}: {}", result.err()?.chain()));
    let failures: Vec<_> = parts.into_iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::Expected(failures.join("\n"))) }
}

/// All keys of units in etcd, with their values.
fn stored(machine: &Machine<'_>) -> Result<String, Failure> {
    let keys = "for of in job unit; do etcdctl ls --recursive --quorum /_coreos.com/fleet/$of 2>/dev/null; done; true";
    Ok(machine.succeed(keys)?)
}

/// Runs a command that must fail with exactly this message.
fn expect_error(machine: &Machine<'_>, command: &str, expected: &str) -> Result<(), Failure> {
    let output = machine.fail(command)?;
    expect(output == expected, &format!("`{command}` to say {expected:?}"), &output)
}

/// Checks the API's answer for a unit of this percent-encoded name.
fn expect_api_answer(machine: &Machine<'_>, name: &str, body: &str, answer: &str) -> Result<(), Failure> {
    machine.write("/tmp/body", body.as_bytes())?;
    let put = format!(
        "curl -s --unix-socket /run/fleet.sock -X PUT -H 'Content-Type: application/json' --data-binary @/tmp/body \
         'http://fleet/fleet/v1/units/{name}'"
    );
    expect_output(machine, &put, answer)
}

fn error(code: u16, message: &str) -> String {
    format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn names(machine: &Machine<'_>) -> Result<(), Failure> {
    let long = "a".repeat(292);
    let too_long = "unit name exceeds maximum length (256)";
    expect_error(
        machine,
        &format!("fleetctl submit {long}.service"),
        &format!("Error creating units: {too_long}\n"),
    )?;
    let no_text = r#"the argument "a\xFF.service" is not UTF-8"#;
    expect_error(machine, r"fleetctl submit $'a\xff.service'", &format!("{no_text}\n"))?;
    // Where a path is allowed, a slash is not part of the name.
    let not_found = "Error creating units: unable to find Unit(b.service) in Registry or on filesystem\n";
    expect_error(machine, "fleetctl submit a/b.service", not_found)?;

    let body = r#"{"options":[{"section":"Service","name":"ExecStart","value":"/usr/bin/true"}]}"#;
    expect_api_answer(machine, &format!("{long}.service"), body, &error(400, too_long))?;
    for slash in ["a/b.service", "a%2Fb.service", "..%2Fb.service"] {
        expect_api_answer(machine, slash, body, &error(400, "invalid character '/' in unit name"))?;
    }
    expect_api_answer(
        machine,
        "a%FF.service",
        body,
        &error(400, "invalid character '\u{fffd}' in unit name"),
    )?;
    let renamed = body.replacen('{', r#"{"name":"a/b.service","#, 1);
    let differs = r#"name in URL \"b.service\" differs from unit name in request body \"a/b.service\""#;
    expect_api_answer(machine, "b.service", &renamed, &error(400, differs))
}

fn bad_lines(machine: &Machine<'_>) -> Result<(), Failure> {
    let check = |text: &[u8], problem: &str, target: &str| -> Result<(), Failure> {
        machine.write("/home/core/bad.service", text)?;
        let expected = format!(
            "Error creating units: failed getting Unit(bad.service) from file: {problem}\nbad.service: {target}\n"
        );
        for verb in ["submit", "start"] {
            expect_error(machine, &format!("fleetctl {verb} bad.service"), &expected)?;
        }
        Ok(())
    };
    let no_value = "unexpected newline encountered while parsing option name";
    check(b"[Service]\nExecStart=/usr/bin/true\nRestart\n", no_value, "line 3, column 1")?;
    check(b"[Service]\n\n[Unit\n", "unable to find end of section", "line 3, column 1")?;
    check(b"[Unit]\nDescription=a\xff\n", "not text: invalid UTF-8", "line 2, column 14")
}

/// A runnable unit file of this stored size: most of it is in a section that systemd ignores.
fn text(bytes: usize) -> String {
    let mut text = format!("{STEADY}\n[X-Ballast]\n");
    while bytes - text.len() > 200 {
        text.push_str(&format!("Line={:0>94}\n", text.len()));
    }
    let left = bytes - text.len() - "Last=\n".len();
    text.push_str(&format!("Last={:x>left$}\n", ""));
    text
}

fn too_long(machine: &Machine<'_>) -> Result<(), Failure> {
    put(machine, "long.service", &text(LONGEST + 1))?;
    let expected = "Error creating units: failed getting Unit(long.service) from file: unit file too long (max \
                1048576 bytes)\nlong.service: put long content into a file on the machines, and refer to it in the unit\n";
    expect_error(machine, "fleetctl submit long.service", expected)
}

fn longest_on(context: &Context<'_>) -> usize {
    if context.is_emulated() { LONGEST_EMULATED } else { LONGEST }
}

/// A unit of maximal size is stored, printed and run like any other.
fn longest(client: &Machine<'_>, target: &Member<'_>, bytes: usize, slowdown: f64) -> Result<(), Failure> {
    put(client, "long.service", &text(bytes))?;
    // Three seconds on a host of ordinary speed, which is the default; as that of fleetd's requests to etcd.
    let timeout = 3.0 * slowdown;
    expect_output(client, &format!("fleetctl --request-timeout={timeout:.1} submit long.service"), "")?;
    let cat = "fleetctl cat long.service | cmp - long.service && wc -c <long.service";
    expect_output(client, cat, &format!("{bytes}\n"))?;
    let launched = format!("Unit long.service launched on {}\n", target.location());
    expect_output(client, "fleetctl start long.service", &launched)?;
    wait_for_state(client, "long.service", "loaded\tactive\trunning")?;
    let whole = "systemctl is-active long.service && stat --format=%s /run/fleet/units/long.service";
    expect_output(&target.machine, whole, &format!("active\n{bytes}\n"))?;
    expect_output(client, "fleetctl destroy long.service", "Destroyed long.service\n")?;
    target.machine.fail("systemctl is-active long.service || ls /run/fleet/units/long.service")?;
    Ok(())
}

/// Waits until the unit has this load, active and sub state.
fn wait_for_state(machine: &Machine<'_>, unit: &str, state: &str) -> Result<(), Failure> {
    let list = "fleetctl list-units --no-legend --fields=unit,load,active,sub | tr -s '\\t'";
    let row = format!("seen=$({list}); echo \"$seen\"; grep -P '^{unit}\\t{state}$' <<<\"$seen\"");
    machine.wait_until_succeeds(&row, SOON)?;
    Ok(())
}

/// Units that never become active, next to one that does.
const NEVER_ACTIVE: [(&str, &str, &str); 4] = [
    ("failing", "ExecStart=/usr/bin/false", "loaded\tfailed\tfailed"),
    ("missing", "ExecStart=/usr/bin/no-such-program", "loaded\tfailed\tfailed"),
    ("nothing", "Type=simple", "bad-setting\t(inactive\tdead|failed\tfailed)"),
    (
        "restless",
        "ExecStart=/usr/bin/false\nRestart=always\nRestartSec=20ms\n[Unit]\nStartLimitIntervalSec=0",
        "loaded\tactivating\tauto-restart",
    ),
];
/// Duration of the measurement.
const MEASURED: Duration = Duration::from_secs(5);
/// Processor shares that fleetd may use meanwhile, the latter where each instruction is emulated.
const MAX_SHARE: f64 = 0.25;
const MAX_SHARE_EMULATED: f64 = 0.75;
/// Maximal number of writes to etcd meanwhile.
const MAX_WRITES: u64 = 50;

fn max_share(context: &Context<'_>) -> f64 {
    if context.is_emulated() { MAX_SHARE_EMULATED } else { MAX_SHARE }
}

fn never_active(client: &Machine<'_>, target: &Member<'_>, max_share: f64) -> Result<(), Failure> {
    let machine = &target.machine;
    let launched = format!("\n[X-Fleet]\nMachineID={}\n", target.id);
    put(client, "steady.service", &format!("{STEADY}{launched}"))?;
    client.succeed("fleetctl start steady.service")?;
    wait_for_state(client, "steady.service", "loaded\tactive\trunning")?;
    let process = "systemctl show --property=MainPID,NRestarts steady.service";
    let before = machine.succeed(process)?;
    for (name, service, state) in NEVER_ACTIVE {
        put(client, &format!("{name}.service"), &format!("[Service]\n{service}\n{launched}"))?;
        client.succeed(&format!("fleetctl start --no-block {name}.service"))?;
        wait_for_state(client, &format!("{name}.service"), state)?;
    }

    let (used, written) = (processor(machine)?, index(client)?);
    // Not a wait: the work done within this time is measured.
    std::thread::sleep(MEASURED);
    let (used, written) = (processor(machine)? - used, index(client)? - written);
    eprintln!("in {MEASURED:?} fleetd took {used:?}; {written} writes to the store");
    expect(
        used < MEASURED.mul_f64(max_share),
        &format!("fleetd to take less than {max_share} of a processor"),
        &format!("{used:?}"),
    )?;
    expect(written < MAX_WRITES, &format!("less than {MAX_WRITES} writes"), &written.to_string())?;

    let after = machine.succeed(process)?;
    expect(before == after, "the same process of the unit beside them", &after)?;
    wait_for_state(client, "steady.service", "loaded\tactive\trunning")?;
    // Other units still start as fast, and these are destroyed like any other.
    put(client, "next.service", &format!("{STEADY}{launched}"))?;
    client.succeed("fleetctl start next.service")?;
    wait_for_state(client, "next.service", "loaded\tactive\trunning")?;
    let all = "failing missing nothing restless steady next";
    client.succeed(&format!("fleetctl destroy {all}"))?;
    client.wait_until_succeeds(
        "test -z \"$(fleetctl list-units --no-legend; fleetctl list-unit-files --no-legend)\"",
        SOON,
    )?;
    expect_output(machine, "ls /run/fleet/units", "")
}

/// fleetd's processor time so far.
fn processor(machine: &Machine<'_>) -> Result<Duration, Failure> {
    let expected = machine.succeed("systemctl show --property=CPUUsageNSec --value fleet.service")?;
    let nanos = expected
        .trim()
        .parse()
        .map_err(|_| Failure::Expected(format!("expected nanoseconds; seen: {expected}")))?;
    Ok(Duration::from_nanos(nanos))
}

/// Index of etcd: the number of writes so far.
fn index(machine: &Machine<'_>) -> Result<u64, Failure> {
    let query = "curl -si http://127.0.0.1:2379/v2/keys/ | tr -d '\\r' | sed -n 's/^X-Etcd-Index: //Ip'";
    let expected = machine.succeed(query)?;
    expected.trim().parse().map_err(|_| Failure::Expected(format!("expected an index; seen: {expected}")))
}
