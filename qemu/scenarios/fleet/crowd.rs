//! Thousands of units at a time.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Nspawn;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{Member, form_three, put, wait_for_machines};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const CROWD: Scenario = Scenario {
    name: "fleet-crowd",
    about: "2,000 units of one command are all there and gone again, 200 all run; the cluster answers meanwhile",
    nodes: NODES,
    // Emulated machines would take an hour.
    on: &[Nspawn],
    long_on: &[Nspawn],
    user_data: Some(super::TUTORIAL),
    run: crowd,
    ..DEFAULTS
};

const SUBMITTED: usize = 2000;
const STARTED: usize = 200;
const SLEEPS: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
/// Limit for one command on this many units.
const COMMAND: Duration = Duration::from_secs(300);
/// Limit for each concurrent command. fleetctl times out requests after three seconds; a start waits for systemd
/// too, which may be slow on a busy host.
const ANSWER: Duration = Duration::from_secs(20);

fn crowd(context: &Context<'_>) -> Result<(), Failure> {
    let members = form_three(context)?;
    let [probed, _, client] = &members;
    for member in &members {
        for name in ["many@.service", "run@.service", "other@.service"] {
            put(&member.machine, name, SLEEPS)?;
        }
    }
    let mut probe = Probe { machine: &probed.machine, longest: Duration::ZERO, count: 0 };
    probe.during(client, &format!("submit many@{{1..{SUBMITTED}}}.service"))?;
    for member in &members {
        let expected = format!("printf 'many@%d.service\\n' {{1..{SUBMITTED}}} | LC_ALL=C sort");
        let listed = "fleetctl list-unit-files --no-legend --fields=unit";
        expect_output(
            &member.machine,
            &format!("diff <({listed}) <({expected}) && {listed} | wc -l"),
            &format!("{SUBMITTED}\n"),
        )?;
    }
    let texts = "etcdctl ls --quorum /_coreos.com/fleet/job | wc -l";
    expect_output(&probed.machine, texts, &format!("{SUBMITTED}\n"))?;
    probe.during(client, &format!("destroy many@{{1..{SUBMITTED}}}.service"))?;
    wait_until_empty(&members)?;

    let began = Instant::now();
    probe.during(client, &format!("start --no-block run@{{1..{STARTED}}}.service"))?;
    let running = "fleetctl list-units --no-legend --fields=load,active,sub | tr -s '\\t' | grep -cxP 'loaded\\tactive\\trunning'";
    let all = format!("seen=$({running}); echo $seen; test $seen = {STARTED}");
    probed.machine.wait_until_succeeds(&all, SOON)?;
    eprintln!("all {STARTED} are shown to run after {:?}", began.elapsed());
    let mut sum = 0;
    for member in &members {
        let count = running_on(&member.machine)?;
        // The probe's unit may be counted on any machine.
        let fair = STARTED / NODES - 1..=STARTED / NODES + 2;
        expect(
            fair.contains(&count),
            &format!("{fair:?} of them on {}", member.machine.name()),
            &count.to_string(),
        )?;
        sum += count;
    }
    expect(sum == STARTED, "each to run on one machine", &sum.to_string())?;
    probe.during(client, &format!("destroy run@{{1..{STARTED}}}.service"))?;
    wait_until_empty(&members)?;
    for member in &members {
        let count = running_on(&member.machine)?;
        expect(count == 0, &format!("none on {}", member.machine.name()), &count.to_string())?;
        wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    }
    let Probe { longest, count, .. } = probe;
    eprintln!("{count} commands were answered meanwhile, within {longest:?}");
    Ok(())
}

fn running_on(machine: &Machine<'_>) -> Result<usize, Failure> {
    let output =
        machine.succeed("systemctl list-units --no-legend --plain --state=active 'run@*' | wc -l")?;
    output.trim().parse().map_err(|_| Failure::Expected(format!("expected a number; seen: {output}")))
}

fn wait_until_empty(members: &[Member<'_>]) -> Result<(), Failure> {
    let none = "seen=$(fleetctl list-unit-files --no-legend; fleetctl list-units --no-legend; ls /run/fleet/units); \
                echo \"$seen\"; test -z \"$seen\"";
    members.iter().try_for_each(|member| Ok(member.machine.wait_until_succeeds(none, SOON).map(drop)?))
}

/// Concurrent commands from another machine.
struct Probe<'a> {
    machine: &'a Machine<'a>,
    longest: Duration,
    count: usize,
}

impl Probe<'_> {
    /// Runs a command of `fleetctl`, and others on another machine until it exits.
    fn during(&mut self, client: &Member<'_>, arguments: &str) -> Result<(), Failure> {
        let began = Instant::now();
        client.machine.succeed(&format!(
            "rm -f /tmp/ended && sudo systemd-run --quiet --collect --unit=typed --uid=core \
             --working-directory=/home/core \
             bash -c 'fleetctl {arguments} >/tmp/said 2>&1; echo $? >/tmp/ended'"
        ))?;
        let ended = loop {
            self.run_once()?;
            let code = client.machine.succeed("cat /tmp/ended 2>/dev/null || true")?;
            if !code.is_empty() || began.elapsed() > COMMAND {
                break code;
            }
        };
        let expected = format!("`fleetctl {arguments}` to end well within {COMMAND:?}");
        let output = client.machine.succeed("tail -n 5 /tmp/said")?;
        expect(ended == "0\n", &expected, &format!("{ended}{output}"))?;
        eprintln!("`fleetctl {arguments}` took {:?}", began.elapsed());
        Ok(())
    }

    /// Starts and destroys a unit.
    fn run_once(&mut self) -> Result<(), Failure> {
        for arguments in ["list-machines", "start other@1", "destroy other@1"] {
            let began = Instant::now();
            self.machine.succeed(&format!("fleetctl {arguments}"))?;
            let took = began.elapsed();
            expect(
                took < ANSWER,
                &format!("`fleetctl {arguments}` within {ANSWER:?}"),
                &format!("{took:?}"),
            )?;
            (self.longest, self.count) = (self.longest.max(took), self.count + 1);
        }
        Ok(())
    }
}
