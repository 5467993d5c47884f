//! One fleetd whose etcd is on another machine, so that the connection can be cut.

use std::time::{Duration, Instant};

use super::super::super::kv::{FORMED, SOON, shows};
use super::super::cluster::{Member, boot_each, wait_for_machines};
use super::ground::{self, Ground};
use crate::failure::{Failure, expect};
use crate::scenario::Stage;

/// The first machine runs fleetd, the second one etcd.
pub fn form<'a>(stage: &Stage<'a>) -> Result<Ground<'a>, Failure> {
    let store = stage.machine(2).node()?.address.to_string();
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
        ground::ttl(stage).as_secs(),
        ground::API
    );
    boot_each(stage, |name| if name == "core-01" { of_fleet.clone() } else { of_store.clone() })?;
    stage.machine(2).wait_for_unit("etcd2.service", FORMED)?;
    let machine = stage.machine(1);
    machine.wait_for_unit("fleet.service", FORMED)?;
    let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
    let address = machine.node()?.address.to_string();
    let members = vec![Member { machine, id, address }];
    wait_for_machines(&members[0].machine, &members.iter().collect::<Vec<_>>())?;
    Ground::new(stage, members, Some(store), vec![of_fleet])
}

const SHOWN: &str = "systemctl show --property=ActiveState,Result fleet.service";
const STOPPED: &str = "Result=success\nActiveState=inactive\n";
const REFUSED: &str =
    "fleetctl list-machines 2>&1 | grep 'Error 503: fleet server unable to communicate with etcd'";
const MONITOR: &str = "Server monitor triggered: Monitor timed out before successful heartbeat";

/// The current time for `journalctl --since`.
fn now(ground: &Ground<'_>) -> Result<String, Failure> {
    Ok(ground.typed().succeed("date +@%s.%N")?.trim().to_owned())
}

/// Counts fleetd's log lines with this text since then.
fn said(ground: &Ground<'_>, since: &str, words: &str) -> Result<usize, Failure> {
    let log =
        ground.typed().succeed(&format!("journalctl --no-pager --unit fleet.service --since {since}"))?;
    Ok(log.matches(words).count())
}

pub fn reconfigure_server(ground: &Ground<'_>) -> Result<(), Failure> {
    let (machine, since) = (ground.typed(), now(ground)?);
    ground.fleetctl("start hello")?;
    ground.active(1)?;
    let processes = ground.processes("hello.service")?;
    machine.succeed("sudo systemctl kill --signal=HUP fleet.service")?;
    let look = || said(ground, &since, "Reloading configuration");
    ground.until("Reloading configuration", look, |times| *times == 1)?;
    let machines = ground.fleetctl("list-machines --full --no-legend --fields=machine")?;
    expect(machines.trim() == ground.members[0].id, "its machine", &machines)?;
    let broken = said(ground, &since, "Failed serving HTTP on listener")?;
    expect(broken == 0, "listeners that go on", &format!("{broken} that did not"))?;
    shows(machine, SHOWN, "Result=success\nActiveState=active\n")?;
    let after = ground.processes("hello.service")?;
    expect(
        processes.len() == 1 && processes == after,
        "the unit undisturbed",
        &format!("{processes:?}, {after:?}"),
    )
}

/// Units of all desired states on the only machine: no other one could take them over.
pub fn single_node_connectivity_loss(ground: &Ground<'_>) -> Result<(), Failure> {
    let machine = ground.typed();
    ground.fleetctl("submit hello@1 everywhere@1")?;
    ground.fleetctl("load hello@2 everywhere@2")?;
    ground.fleetctl("start hello@3 everywhere@3")?;
    ground.loaded(4)?;
    ground.active(2)?;
    let since = now(ground)?;
    let lists = "list-unit-files --full && fleetctl list-units --full";
    let before = ground.fleetctl(lists)?;
    let show = "for unit in hello@1 hello@2 hello@3 everywhere@1 everywhere@2 everywhere@3; do unit=$unit.service; echo $unit $(systemctl is-enabled $unit); \
                systemctl show --property=LoadState,ActiveState,MainPID,InvocationID $unit; done";
    let units = machine.succeed(show)?;
    let linked = units.matches("linked-runtime").count();
    expect(linked == 4, "four units that are linked", &units)?;

    let way = format!("unreachable {}/32", ground.store.as_deref().unwrap_or_default());
    machine.succeed(&format!("sudo ip route add {way}"))?;
    let until = Instant::now() + ground.ttl + Duration::from_secs(7);
    machine.wait_until_succeeds(REFUSED, ground.ttl + ground.limit)?;
    while Instant::now() < until {
        shows(machine, show, &units)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    machine.succeed(REFUSED)?;
    machine.succeed(&format!("sudo ip route del {way}"))?;
    let after = || Ok(machine.execute(&format!("fleetctl {lists}"))?.stdout);
    ground.until("the same lists as before", after, |after| *after == before)?;
    shows(machine, show, &units)?;
    let stopping = format!(
        "journalctl --no-pager --unit 'hello@*' --unit 'everywhere@*' --since {since} | grep Stopping || true"
    );
    shows(machine, &stopping, "")
}

pub fn shutdown(ground: &Ground<'_>) -> Result<(), Failure> {
    ground.fleetctl("start hello")?;
    ground.active(1)?;
    ground.typed().succeed("sudo systemctl stop fleet.service")?;
    shows(ground.typed(), SHOWN, STOPPED)?;
    ground.typed().fail("systemctl is-active hello.service")?;
    ground.size(1)
}

/// Packets to etcd are dropped; fleetd is stopped while it tries to reconnect.
pub fn shutdown_vs_monitor(ground: &Ground<'_>) -> Result<(), Failure> {
    let (machine, since) = (ground.typed(), now(ground)?);
    ground.fleetctl("start hello")?;
    ground.active(1)?;
    machine.partition()?;
    let done = cut_off(ground, &since);
    machine.heal()?;
    done?;
    ground.size(1)
}

fn cut_off(ground: &Ground<'_>, since: &str) -> Result<(), Failure> {
    let machine = ground.typed();
    ground.until(MONITOR, || said(ground, since, MONITOR), |times| *times > 0)?;
    let begun = Instant::now();
    machine.succeed("sudo systemctl stop fleet.service")?;
    let took = begun.elapsed();
    expect(took < SOON, &format!("an end within {SOON:?}"), &format!("{took:?}"))?;
    shows(machine, SHOWN, STOPPED)?;
    machine.fail("systemctl is-active hello.service")?;
    Ok(())
}
