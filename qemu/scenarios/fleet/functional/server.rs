//! One fleetd whose etcd is on another machine, so that the connection can be cut.

use std::time::{Duration, Instant};

use super::super::super::kv::{FORMED, SOON, expect_output};
use super::super::cluster::{Member, boot_each, wait_for_machines};
use super::fixture::{self, Fixture};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// The first machine runs fleetd, the second one etcd.
pub fn form<'a>(context: &Context<'a>) -> Result<Fixture<'a>, Failure> {
    let store = context.machine(2).node()?.address.to_string();
    let (peer, client) = (format!("http://{store}:2380"), format!("http://{store}:2379"));
    let of_store = format!(
        "#cloud-config\ncoreos:\n  etcd2:\n    name: store\n    initial-cluster: store={peer}\n    \
         initial-advertise-peer-urls: {peer}\n    advertise-client-urls: {client}\n    \
         listen-peer-urls: http://0.0.0.0:2380\n    listen-client-urls: http://0.0.0.0:2379\n  units:\n    \
         - name: etcd2.service\n      command: start\n"
    );
    let of_fleet = format!(
        "#cloud-config\ncoreos:\n  fleet:\n    public-ip: $private_ipv4\n    etcd-servers: {client}\n    \
         agent-ttl: {}s\n    metadata: hostname=core-01\n  units:\n{}    - name: fleet.service\n      \
         command: start\n",
        fixture::ttl(context).as_secs(),
        fixture::API
    );
    boot_each(context, |name| if name == "core-01" { of_fleet.clone() } else { of_store.clone() })?;
    context.machine(2).wait_for_unit("etcd2.service", FORMED)?;
    let machine = context.machine(1);
    machine.wait_for_unit("fleet.service", FORMED)?;
    let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
    let address = machine.node()?.address.to_string();
    let members = vec![Member { machine, id, address }];
    wait_for_machines(&members[0].machine, &members.iter().collect::<Vec<_>>())?;
    Fixture::new(context, members, Some(store), vec![of_fleet])
}

const SHOW: &str = "systemctl show --property=ActiveState,Result fleet.service";
const STOPPED: &str = "Result=success\nActiveState=inactive\n";
const REFUSED: &str =
    "fleetctl list-machines 2>&1 | grep 'Error 503: fleet server unable to communicate with etcd'";
const MONITOR_TIMEOUT: &str = "Server monitor triggered: Monitor timed out before successful heartbeat";

/// The current time for `journalctl --since`.
fn now(fixture: &Fixture<'_>) -> Result<String, Failure> {
    Ok(fixture.client().succeed("date +@%s.%N")?.trim().to_owned())
}

/// Counts fleetd's log lines with this text since then.
fn count_log(fixture: &Fixture<'_>, since: &str, text: &str) -> Result<usize, Failure> {
    let log =
        fixture.client().succeed(&format!("journalctl --no-pager --unit fleet.service --since {since}"))?;
    Ok(log.matches(text).count())
}

pub fn reconfigure_server(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (machine, since) = (fixture.client(), now(fixture)?);
    fixture.fleetctl("start hello")?;
    fixture.active(1)?;
    let processes = fixture.processes("hello.service")?;
    machine.succeed("sudo systemctl kill --signal=HUP fleet.service")?;
    let observe = || count_log(fixture, &since, "Reloading configuration");
    fixture.until("Reloading configuration", observe, |times| *times == 1)?;
    // The reloaded daemon connects to the store anew, which a slow host may delay.
    let machines =
        || Ok(machine.execute("fleetctl list-machines --full --no-legend --fields=machine")?.stdout);
    fixture.until("its machine", machines, |machines| machines.trim() == fixture.members[0].id)?;
    let broken = count_log(fixture, &since, "Failed serving HTTP on listener")?;
    expect(broken == 0, "listeners that go on", &format!("{broken} that did not"))?;
    expect_output(machine, SHOW, "Result=success\nActiveState=active\n")?;
    let after = fixture.processes("hello.service")?;
    expect(
        processes.len() == 1 && processes == after,
        "the unit undisturbed",
        &format!("{processes:?}, {after:?}"),
    )
}

/// Units of all desired states on the only machine: no other one could take them over.
pub fn single_node_connectivity_loss(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let machine = fixture.client();
    fixture.fleetctl("submit hello@1 everywhere@1")?;
    fixture.fleetctl("load hello@2 everywhere@2")?;
    fixture.fleetctl("start hello@3 everywhere@3")?;
    fixture.loaded(4)?;
    fixture.active(2)?;
    let since = now(fixture)?;
    let lists = "list-unit-files --full && fleetctl list-units --full";
    let before = fixture.fleetctl(lists)?;
    let show = "for unit in hello@1 hello@2 hello@3 everywhere@1 everywhere@2 everywhere@3; do unit=$unit.service; echo $unit $(systemctl is-enabled $unit); \
                systemctl show --property=LoadState,ActiveState,MainPID,InvocationID $unit; done";
    let units = machine.succeed(show)?;
    let linked = units.matches("linked-runtime").count();
    expect(linked == 4, "four units that are linked", &units)?;

    let route = format!("unreachable {}/32", fixture.store.as_deref().unwrap_or_default());
    machine.succeed(&format!("sudo ip route add {route}"))?;
    let until = Instant::now() + fixture.ttl + Duration::from_secs(7);
    machine.wait_until_succeeds(REFUSED, fixture.ttl + fixture.limit)?;
    while Instant::now() < until {
        expect_output(machine, show, &units)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    machine.succeed(REFUSED)?;
    machine.succeed(&format!("sudo ip route del {route}"))?;
    let after = || Ok(machine.execute(&format!("fleetctl {lists}"))?.stdout);
    fixture.until("the same lists as before", after, |after| *after == before)?;
    expect_output(machine, show, &units)?;
    let stopping = format!(
        "journalctl --no-pager --unit 'hello@*' --unit 'everywhere@*' --since {since} | grep Stopping || true"
    );
    expect_output(machine, &stopping, "")
}

pub fn shutdown(fixture: &Fixture<'_>) -> Result<(), Failure> {
    fixture.fleetctl("start hello")?;
    fixture.active(1)?;
    fixture.client().succeed("sudo systemctl stop fleet.service")?;
    expect_output(fixture.client(), SHOW, STOPPED)?;
    fixture.client().fail("systemctl is-active hello.service")?;
    fixture.size(1)
}

/// Packets to etcd are dropped; fleetd is stopped while it tries to reconnect.
pub fn shutdown_vs_monitor(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (machine, since) = (fixture.client(), now(fixture)?);
    fixture.fleetctl("start hello")?;
    fixture.active(1)?;
    machine.partition()?;
    let result = cut_off(fixture, &since);
    machine.heal()?;
    result?;
    fixture.size(1)
}

fn cut_off(fixture: &Fixture<'_>, since: &str) -> Result<(), Failure> {
    let machine = fixture.client();
    fixture.until(MONITOR_TIMEOUT, || count_log(fixture, since, MONITOR_TIMEOUT), |times| *times > 0)?;
    let began = Instant::now();
    machine.succeed("sudo systemctl stop fleet.service")?;
    let took = began.elapsed();
    expect(took < SOON, &format!("an end within {SOON:?}"), &format!("{took:?}"))?;
    expect_output(machine, SHOW, STOPPED)?;
    machine.fail("systemctl is-active hello.service")?;
    Ok(())
}
