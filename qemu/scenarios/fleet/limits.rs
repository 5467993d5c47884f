//! Limits of units: names, lengths, contents, and units that systemd cannot run.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, shows};
use super::cluster::{Member, put, three};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const LIMITS: Scenario = Scenario {
    name: "fleet-limits",
    about: "what no unit can be is refused with its place and leaves nothing; a bad unit disturbs no other one",
    nodes: NODES,
    user_data: Some(super::TUTORIAL),
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: limits,
    ..USUAL
};

/// Maximal size of a unit file in bytes.
const LONGEST: usize = 1024 * 1024;
/// On an emulated machine, where etcd needs longer than fleetd's 2.5 s for a megabyte.
const LONGEST_EMULATED: usize = LONGEST / 8;
const STEADY: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

fn limits(stage: &Stage<'_>) -> Result<(), Failure> {
    let [one, two, three] = three(stage)?;
    let typed = &three.machine;
    let before = stored(typed)?;
    let nothing = || expect(stored(typed)? == before, "nothing of what was refused", &stored(typed)?);
    let parts = [
        ("names", names(typed)),
        ("lines", bad_lines(typed)),
        ("length", too_long(typed)),
        ("store", nothing()),
        ("longest", longest(typed, &one, longest_on(stage))),
        ("hopeless", hopeless(typed, &two, busy(stage))),
    ];
    // All parts run even if some fail.
    let failed = |(part, done): (&str, Result<(), Failure>)| Some(format!("{part}: {}", done.err()?.chain()));
    let failures: Vec<_> = parts.into_iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::Expected(failures.join("\n"))) }
}

/// All keys of units in etcd, with their values.
fn stored(machine: &Machine<'_>) -> Result<String, Failure> {
    let keys = "for of in job unit; do etcdctl ls --recursive --quorum /_coreos.com/fleet/$of 2>/dev/null; done; true";
    Ok(machine.succeed(keys)?)
}

/// Runs a command that must fail with exactly this message.
fn refuses(machine: &Machine<'_>, command: &str, said: &str) -> Result<(), Failure> {
    let seen = machine.fail(command)?;
    expect(seen == said, &format!("`{command}` to say {said:?}"), &seen)
}

/// Checks the API's answer for a unit of this percent-encoded name.
fn asks(machine: &Machine<'_>, name: &str, body: &str, answer: &str) -> Result<(), Failure> {
    machine.write("/tmp/body", body.as_bytes())?;
    let put = format!(
        "curl -s --unix-socket /run/fleet.sock -X PUT -H 'Content-Type: application/json' --data-binary @/tmp/body \
         'http://fleet/fleet/v1/units/{name}'"
    );
    shows(machine, &put, answer)
}

fn error(code: u16, message: &str) -> String {
    format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#)
}

fn names(machine: &Machine<'_>) -> Result<(), Failure> {
    let long = "a".repeat(292);
    let too_long = "unit name exceeds maximum length (256)";
    refuses(
        machine,
        &format!("fleetctl submit {long}.service"),
        &format!("Error creating units: {too_long}\n"),
    )?;
    let no_text = r#"the argument "a\xFF.service" is not UTF-8"#;
    refuses(machine, r"fleetctl submit $'a\xff.service'", &format!("{no_text}\n"))?;
    // Where a path is allowed, a slash is not part of the name.
    let nowhere = "Error creating units: unable to find Unit(b.service) in Registry or on filesystem\n";
    refuses(machine, "fleetctl submit a/b.service", nowhere)?;

    let body = r#"{"options":[{"section":"Service","name":"ExecStart","value":"/usr/bin/true"}]}"#;
    asks(machine, &format!("{long}.service"), body, &error(400, too_long))?;
    for slash in ["a/b.service", "a%2Fb.service", "..%2Fb.service"] {
        asks(machine, slash, body, &error(400, "invalid character '/' in unit name"))?;
    }
    asks(machine, "a%FF.service", body, &error(400, "invalid character '\u{fffd}' in unit name"))?;
    let otherwise = body.replacen('{', r#"{"name":"a/b.service","#, 1);
    let differs = r#"name in URL \"b.service\" differs from unit name in request body \"a/b.service\""#;
    asks(machine, "b.service", &otherwise, &error(400, differs))
}

fn bad_lines(machine: &Machine<'_>) -> Result<(), Failure> {
    let check = |text: &[u8], problem: &str, place: &str| -> Result<(), Failure> {
        machine.write("/home/core/bad.service", text)?;
        let said = format!(
            "Error creating units: failed getting Unit(bad.service) from file: {problem}\nbad.service: {place}\n"
        );
        for verb in ["submit", "start"] {
            refuses(machine, &format!("fleetctl {verb} bad.service"), &said)?;
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
    let said = "Error creating units: failed getting Unit(long.service) from file: unit file too long (max \
                1048576 bytes)\nlong.service: keep long content in a file on the machines, and let the unit name it\n";
    refuses(machine, "fleetctl submit long.service", said)
}

fn longest_on(stage: &Stage<'_>) -> usize {
    if stage.is_emulated() { LONGEST_EMULATED } else { LONGEST }
}

/// A unit of maximal size is stored, printed and run like any other.
fn longest(typed: &Machine<'_>, place: &Member<'_>, bytes: usize) -> Result<(), Failure> {
    put(typed, "long.service", &text(bytes))?;
    shows(typed, "fleetctl submit long.service", "")?;
    let cat = "fleetctl cat long.service | cmp - long.service && wc -c <long.service";
    shows(typed, cat, &format!("{bytes}\n"))?;
    let there = format!("Unit long.service launched on {}\n", place.place());
    shows(typed, "fleetctl start long.service", &there)?;
    is_shown(typed, "long.service", "loaded\tactive\trunning")?;
    let whole = "systemctl is-active long.service && stat --format=%s /run/fleet/units/long.service";
    shows(&place.machine, whole, &format!("active\n{bytes}\n"))?;
    shows(typed, "fleetctl destroy long.service", "Destroyed long.service\n")?;
    place.machine.fail("systemctl is-active long.service || ls /run/fleet/units/long.service")?;
    Ok(())
}

/// Waits until the unit has this load, active and sub state.
fn is_shown(machine: &Machine<'_>, unit: &str, state: &str) -> Result<(), Failure> {
    let list = "fleetctl list-units --no-legend --fields=unit,load,active,sub | tr -s '\\t'";
    let row = format!("seen=$({list}); echo \"$seen\"; grep -P '^{unit}\\t{state}$' <<<\"$seen\"");
    machine.wait_until_succeeds(&row, SOON)?;
    Ok(())
}

/// Units that never become active, next to one that does.
const HOPELESS: [(&str, &str, &str); 4] = [
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
const WATCHED: Duration = Duration::from_secs(5);
/// Processor shares that fleetd may use meanwhile, the latter where each instruction is emulated.
const BUSY: f64 = 0.25;
const BUSY_EMULATED: f64 = 0.75;
/// Maximal number of writes to etcd meanwhile.
const WRITES: u64 = 50;

fn busy(stage: &Stage<'_>) -> f64 {
    if stage.is_emulated() { BUSY_EMULATED } else { BUSY }
}

fn hopeless(typed: &Machine<'_>, place: &Member<'_>, busy: f64) -> Result<(), Failure> {
    let machine = &place.machine;
    let there = format!("\n[X-Fleet]\nMachineID={}\n", place.id);
    put(typed, "steady.service", &format!("{STEADY}{there}"))?;
    typed.succeed("fleetctl start steady.service")?;
    is_shown(typed, "steady.service", "loaded\tactive\trunning")?;
    let process = "systemctl show --property=MainPID,NRestarts steady.service";
    let before = machine.succeed(process)?;
    for (name, service, state) in HOPELESS {
        put(typed, &format!("{name}.service"), &format!("[Service]\n{service}\n{there}"))?;
        typed.succeed(&format!("fleetctl start --no-block {name}.service"))?;
        is_shown(typed, &format!("{name}.service"), state)?;
    }

    let (used, written) = (processor(machine)?, index(typed)?);
    // Not a wait: the work done within this time is measured.
    std::thread::sleep(WATCHED);
    let (used, written) = (processor(machine)? - used, index(typed)? - written);
    eprintln!("in {WATCHED:?} fleetd took {used:?}; {written} writes to the store");
    expect(
        used < WATCHED.mul_f64(busy),
        &format!("fleetd to take less than {busy} of a processor"),
        &format!("{used:?}"),
    )?;
    expect(written < WRITES, &format!("less than {WRITES} writes"), &written.to_string())?;

    let after = machine.succeed(process)?;
    expect(before == after, "the same process of the unit beside them", &after)?;
    is_shown(typed, "steady.service", "loaded\tactive\trunning")?;
    // Other units still start as fast, and these are destroyed like any other.
    put(typed, "next.service", &format!("{STEADY}{there}"))?;
    typed.succeed("fleetctl start next.service")?;
    is_shown(typed, "next.service", "loaded\tactive\trunning")?;
    let all = "failing missing nothing restless steady next";
    typed.succeed(&format!("fleetctl destroy {all}"))?;
    typed.wait_until_succeeds(
        "test -z \"$(fleetctl list-units --no-legend; fleetctl list-unit-files --no-legend)\"",
        SOON,
    )?;
    shows(machine, "ls /run/fleet/units", "")
}

/// fleetd's processor time so far.
fn processor(machine: &Machine<'_>) -> Result<Duration, Failure> {
    let said = machine.succeed("systemctl show --property=CPUUsageNSec --value fleet.service")?;
    let nanos =
        said.trim().parse().map_err(|_| Failure::Expected(format!("expected nanoseconds; seen: {said}")))?;
    Ok(Duration::from_nanos(nanos))
}

/// Index of etcd: the number of writes so far.
fn index(machine: &Machine<'_>) -> Result<u64, Failure> {
    let ask = "curl -si http://127.0.0.1:2379/v2/keys/ | tr -d '\\r' | sed -n 's/^X-Etcd-Index: //Ip'";
    let said = machine.succeed(ask)?;
    said.trim().parse().map_err(|_| Failure::Expected(format!("expected an index; seen: {said}")))
}
