//! etcd on chosen machines; the others proxy requests to it. Configured by cloud-config only.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::kv::{FORMED, SOON, expect_output};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const WORKERS: Scenario = Scenario {
    name: "kv-workers",
    about: "workers without a member use the store of the one machine that has one, also after that restarts (A7; with units: fleet-workers)",
    nodes: 3,
    by_name_on: &[Qemu],
    run: workers,
    ..DEFAULTS
};

const UNITS: &str = "  units:\n    - name: etcd2.service\n      command: start\n";

/// Cloud-config with these lines below `etcd2`, and additional ones next to it.
fn user_data(etcd2: &[String], beside: &str) -> String {
    let lines: String = etcd2.iter().map(|line| format!("    {line}\n")).collect();
    format!("#cloud-config\ncoreos:\n  etcd2:\n{lines}{beside}{UNITS}")
}

fn start<'a>(context: &Context<'a>, number: usize, user_data: &str) -> Result<Machine<'a>, Failure> {
    context.site.set_user_data(user_data.as_bytes())?;
    let machine = context.machine(number);
    machine.start()?;
    machine.wait_for_unit("etcd2.service", FORMED)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    Ok(machine)
}

fn workers(context: &Context<'_>) -> Result<(), Failure> {
    let address = context.machine(1).node()?.address;
    let (peer, client) = (format!("http://{address}:2380"), format!("http://{address}:2379"));
    let of_master = user_data(
        &[
            "name: master".to_owned(),
            format!("initial-cluster: master={peer}"),
            format!("initial-advertise-peer-urls: {peer}"),
            format!("advertise-client-urls: {client}"),
            "listen-peer-urls: http://0.0.0.0:2380".to_owned(),
            "listen-client-urls: http://0.0.0.0:2379,http://0.0.0.0:4001".to_owned(),
        ],
        "",
    );
    let master = start(context, 1, &of_master)?;
    // Any etcd serves discovery: this one gives the third machine the member's address.
    let id = master.succeed("etcdctl member list | cut -d: -f1")?;
    master.succeed("etcdctl set /found/_config/size 1")?;
    master.succeed(&format!("etcdctl set /found/{} master={peer}", id.trim()))?;
    let fleet = format!("  fleet:\n    etcd_servers: {client}\n");
    let listed = ["proxy: on".to_owned(), format!("initial-cluster: master={peer}")];
    let found = ["proxy: on".to_owned(), format!("discovery: {client}/v2/keys/found")];
    let workers =
        [start(context, 2, &user_data(&listed, &fleet))?, start(context, 3, &user_data(&found, &fleet))?];
    for worker in &workers {
        check(worker, &client)?;
    }
    // One worker reads what the other one writes.
    expect_output(&workers[0], "etcdctl set /from/worker two", "two\n")?;
    expect_output(&workers[1], "etcdctl get --quorum /from/worker", "two\n")?;
    // User-data of the machines that start from now on.
    context.site.set_user_data(of_master.as_bytes())?;
    survive(&master, &workers)
}

/// Checks that a worker proxies both ports and is not a member.
fn check(worker: &Machine<'_>, client: &str) -> Result<(), Failure> {
    let (name, key) = (worker.name(), format!("/workers/{}", worker.name()));
    expect_output(worker, &format!("etcdctl set {key} {name}"), &format!("{name}\n"))?;
    for port in [2379, 4001] {
        let got = worker.succeed(&format!("curl -s http://127.0.0.1:{port}/v2/keys{key}"))?;
        expect(got.contains(&format!(r#""value":"{name}""#)), "the value", &got)?;
    }
    let members = worker.succeed("etcdctl member list | wc -l")?;
    expect(members.trim() == "1", "one member", &members)?;
    worker.fail("sudo test -e /var/lib/etcd/member -o -e /var/lib/etcd2/member")?;
    let fleet = worker.read("/run/systemd/system/fleet.service.d/20-cloudinit.conf")?;
    let wanted = format!("FLEET_ETCD_SERVERS={client}");
    expect(fleet.contains(&wanted), &wanted, &fleet)
}

/// Restarts the member's service, then its machine, then the worker, which has the members cached.
fn survive(master: &Machine<'_>, workers: &[Machine<'_>]) -> Result<(), Failure> {
    let all_read = || -> Result<(), Failure> {
        for worker in workers {
            worker.wait_until_succeeds("etcdctl get --quorum /from/worker | grep -x two", SOON)?;
            worker
                .wait_until_succeeds("curl -s http://127.0.0.1:4001/v2/keys/from/worker | grep two", SOON)?;
        }
        Ok(())
    };
    master.succeed("sudo systemctl restart etcd2.service")?;
    all_read()?;
    master.crash()?;
    master.start()?;
    master.wait_for_unit("etcd2.service", FORMED)?;
    all_read()?;
    for worker in workers {
        worker.succeed("sudo systemctl restart etcd2.service")?;
        worker.wait_for_unit("etcd2.service", FORMED)?;
    }
    all_read()
}
