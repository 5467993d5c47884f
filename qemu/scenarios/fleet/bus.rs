//! fleetd while D-Bus disconnects and reconnects, and while systemd re-executes.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::{Nspawn, Qemu};

use super::super::kv::{NODES, SOON};
use super::cluster::{Member, form_with, put, start_each, user_data, wait_for_machines};
use super::heartbeats::{FOLDER, Heartbeats, Run, SERVICE};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const BUS: Scenario = Scenario {
    name: "fleet-bus",
    about: "D-Bus restarted or killed, and systemd executed anew: units run on, fleetd starts and sees units as before",
    nodes: NODES,
    shared: &[FOLDER],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: bus,
    ..DEFAULTS
};

/// Disruptions of a machine, none of which stops fleetd or a unit.
const EVENTS: [(&str, &str); 3] = [
    ("dbus restarted", "systemctl restart dbus.service"),
    ("dbus killed", "systemctl kill -s KILL dbus.service"),
    ("systemd executed anew", "systemctl daemon-reexec"),
];
/// logind does not reconnect, and logins wait for it.
const LOGINS: &str = "systemctl restart systemd-logind.service";

/// Shorter than fleetd's interval for listing all units: changes observed within it came as signals from systemd.
fn signal_limit(context: &Context<'_>) -> Duration {
    match context.backend {
        Qemu => SOON,
        Nspawn => Duration::from_secs(15),
    }
}

fn bus(context: &Context<'_>) -> Result<(), Failure> {
    let members = form_with(context, &user_data(&[], ""))?;
    let [one, two, three] = &members;
    let heartbeats = Heartbeats::new(&context.shared(1));
    let client = &two.machine;
    put(client, "beat@.service", SERVICE)?;
    put(client, "there@.service", &format!("{SERVICE}\n[X-Fleet]\nMachineID={}\n", one.id))?;
    start_each(client, &[("beat@1", one), ("beat@2", two), ("beat@3", three)])?;
    let units = (1..=NODES).map(|number| format!("beat@{number}.service")).collect::<Vec<_>>();
    let ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    let mut runs = heartbeats.wait(&units, &ids, SOON)?;
    let fleetd = one.machine.succeed(FLEETD)?;
    for (number, (event, command)) in EVENTS.into_iter().enumerate() {
        one.machine.succeed(&format!("sudo sh -c '{command} && {LOGINS}'"))?;
        let unit = format!("there@{number}");
        runs.extend(
            works_on(context, &members, &heartbeats, &unit)
                .map_err(|failure| Failure::Expected(format!("after {event}: {}", failure.chain())))?,
        );
        for member in &members {
            wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
        }
        heartbeats.undisturbed(&runs, &format!("after {event}"))?;
    }
    let after = one.machine.succeed(FLEETD)?;
    expect(fleetd == after, "the same fleetd", &format!("{fleetd}{after}"))?;
    heartbeats.never_twice()
}

const FLEETD: &str = "systemctl show --property=MainPID,NRestarts fleet.service";

/// Starts a unit on the first machine, kills it, starts it again and returns the second run.
fn works_on(
    context: &Context<'_>,
    members: &[Member<'_>; NODES],
    heartbeats: &Heartbeats,
    unit: &str,
) -> Result<Vec<Run>, Failure> {
    let [one, two, _] = members;
    let (client, began) = (&two.machine, Instant::now());
    let row = |state: &str| {
        format!(
            "fleetctl list-units --no-legend --fields=unit,active,sub | tr -s '\\t' | grep -xP '{unit}.service\\t{state}'"
        )
    };
    start_each(client, &[(unit, one)])?;
    client.wait_until_succeeds(&row("active\\trunning"), signal_limit(context))?;
    one.machine.succeed(&format!("sudo systemctl kill -s KILL {unit}.service"))?;
    client.wait_until_succeeds(&row("failed\\tfailed"), signal_limit(context))?;
    let killed = heartbeats.runs()?;
    client.succeed(&format!("fleetctl start {unit}"))?;
    client.wait_until_succeeds(&row("active\\trunning"), signal_limit(context))?;
    eprintln!("{unit} was started, seen to fail and started again within {:?}", began.elapsed());
    // The killed process counts as alive for a while, and the second may not have written yet.
    let deadline = Instant::now() + SOON;
    loop {
        let mut runs = heartbeats.alive()?;
        runs.retain(|run| run.unit == format!("{unit}.service"));
        if let [run] = &*runs
            && !killed.iter().any(|killed| killed.process == run.process)
        {
            return Ok(runs);
        }
        expect(Instant::now() < deadline, "only the second process of the unit", &format!("{runs:?}"))?;
        std::thread::sleep(Duration::from_millis(100));
    }
}
