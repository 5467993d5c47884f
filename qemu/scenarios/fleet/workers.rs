//! Row A7: one machine runs etcd; the others are workers that find it by their cloud-config.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{FORMED, NODES, SOON, expect_output};
use super::cluster::{Member, boot_each, put, wait_for_machines, wait_for_placement};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const WORKERS: Scenario = Scenario {
    name: "fleet-workers",
    about: "machines without a member run units too: one with etcd as a proxy, one with etcd-servers alone (A7)",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: workers,
    ..DEFAULTS
};

/// Runs on workers only, at most one per machine.
const UNIT: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n\n[X-Fleet]\nMachineMetadata=role=worker\nConflicts=job@*.service\n";

fn workers(context: &Context<'_>) -> Result<(), Failure> {
    let address = context.machine(1).node()?.address;
    let (peer, client) = (format!("http://{address}:2380"), format!("http://{address}:2379"));
    let start = |unit: &str| format!("    - name: {unit}\n      command: start\n");
    // etcd starts first: starting fleet waits for it.
    let fleet = |role: &str, more: &str, first: &str| {
        format!(
            "  fleet:\n    public-ip: $private_ipv4\n    metadata: role={role}\n{more}  units:\n{first}{}",
            start("fleet.service")
        )
    };
    let user_data = |machine: &str| {
        let of_machine = match machine {
            "core-01" => format!(
                "  etcd2:\n    name: central\n    initial-cluster: central={peer}\n    initial-advertise-peer-urls: {peer}\n    \
                 advertise-client-urls: {client}\n    listen-peer-urls: http://0.0.0.0:2380\n    \
                 listen-client-urls: http://0.0.0.0:2379\n{}",
                fleet("central", "", &start("etcd2.service"))
            ),
            "core-02" => format!(
                "  etcd:\n    proxy: on\n    initial-cluster: central={peer}\n{}",
                fleet("worker", "    etcd-servers: http://127.0.0.1:2379\n", &start("etcd.service"))
            ),
            _ => fleet("worker", &format!("    etcd-servers: {client}\n"), ""),
        };
        format!("#cloud-config\ncoreos:\n{of_machine}")
    };
    boot_each(context, user_data)?;
    let mut members = Vec::new();
    for number in 1..=NODES {
        members.push(member(context.machine(number))?);
    }
    let [central, proxy, alone] = &members[..] else { return Ok(()) };
    for member in &members {
        wait_for_machines(&member.machine, &members.iter().collect::<Vec<_>>())?;
    }
    central.machine.wait_for_unit("etcd2.service", FORMED)?;
    proxy.machine.wait_for_unit("etcd.service", FORMED)?;
    let stores = "systemctl is-active etcd.service etcd2.service | sort -u";
    expect_output(
        &alone.machine,
        &format!("{stores}; ls /var/lib/etcd /var/lib/etcd2 2>/dev/null; true"),
        "inactive\n",
    )?;
    let count = "etcdctl member list | wc -l";
    expect_output(&proxy.machine, count, "1\n")?;
    // Runs on a machine without etcd and on one with a proxy.
    put(&alone.machine, "job@.service", UNIT)?;
    alone.machine.succeed("fleetctl submit job@.service && fleetctl start --no-block job@1.service")?;
    proxy.machine.succeed("fleetctl start --no-block job@2.service job@3.service")?;
    let runs = "systemctl list-units --plain --no-legend 'job@*' | grep -c running | grep -x 1";
    for worker in [proxy, alone] {
        worker.machine.wait_until_succeeds(runs, SOON)?;
    }
    let listed = central.machine.succeed("fleetctl list-units --no-legend --fields=unit,machine")?;
    expect(!listed.contains(&central.address), "no job on the machine that is no worker", &listed)?;
    expect(listed.lines().count() == 2, "two jobs on two workers, the third nowhere", &listed)?;
    expect(listed.contains(&proxy.address) && listed.contains(&alone.address), "both workers", &listed)?;
    proxy.machine.succeed("fleetctl destroy job@2.service job@3.service")?;
    alone.machine.succeed("fleetctl destroy job@1.service")?;
    wait_for_placement(&central.machine, &[])
}

fn member(machine: Machine<'_>) -> Result<Member<'_>, Failure> {
    machine.wait_for_unit("fleet.service", FORMED)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    let id = machine.succeed("cat /etc/machine-id")?.trim().to_owned();
    let address = machine.node()?.address.to_string();
    Ok(Member { machine, id, address })
}
