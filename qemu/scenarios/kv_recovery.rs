//! Disaster recovery of etcd: all data lost but for a backup, or a permanently lost majority.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;
use machines::ready::Mark;

use super::kv::{FORMED, LOAD, NODES, SOON, USER_DATA, expect_output, form, health, health_of};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const RESTORE: Scenario = Scenario {
    name: "kv-restore",
    about: "a backup that was made under load brings back, when all data is lost, what was acknowledged before it",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    user_data: Some(USER_DATA),
    run: restore,
    ..DEFAULTS
};

const BACKUP: &str = "sudo cp /run/acknowledged /home/core/before && \
    sudo etcdctl backup --data-dir /var/lib/etcd --backup-dir /home/core/backup";
const SAME: &str = "etcdctl ls --quorum /load >/tmp/listed || exit 1; sed 's#.*/##' /tmp/listed | sort >/tmp/have; \
    sort /home/core/before | comm -23 - /tmp/have";

fn restore(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let keeper = &machines[0];
    keeper.succeed(LOAD)?;
    keeper.wait_until_succeeds("test $(wc -l </run/acknowledged) -gt 100", SOON)?;
    // It prints nothing if it queried the member for what was acknowledged.
    let output = keeper.succeed(&format!("{BACKUP} 2>&1"))?;
    expect(output.is_empty(), "a silent backup", &output)?;
    keeper.wait_until_succeeds("test $(wc -l </run/acknowledged) -gt 200", SOON)?;
    keeper.succeed("sudo touch /run/enough")?;
    keeper.wait_until_succeeds("! systemctl is-active load.service", SOON)?;
    let whole = keeper.succeed("sudo etcdctl backup --verify --backup-dir /home/core/backup")?;
    expect(whole.starts_with("the backup is whole: "), "a whole backup", &whole)?;
    keeper.fail("sudo etcdctl restore --backup-dir /home/core/backup --replace")?;
    for machine in &machines {
        machine.succeed("sudo systemctl stop etcd && sudo rm -rf /var/lib/etcd/member")?;
    }
    keeper.succeed("sudo etcdctl restore --backup-dir /home/core/backup && sudo systemctl start etcd")?;
    keeper.wait_for_unit("etcd.service", FORMED)?;
    // A member is ready before it has published its client URLs, which etcdctl needs.
    keeper.wait_until_succeeds("etcdctl ls --quorum /load", SOON)?;
    expect_output(keeper, SAME, "")?;
    for machine in &machines[1..] {
        join(machine, keeper)?;
    }
    expect_output(keeper, SAME, "")?;
    // `force-new-cluster` applied to one start only.
    keeper.succeed("sudo systemctl restart etcd")?;
    keeper.wait_for_unit("etcd.service", FORMED)?;
    keeper.wait_until_succeeds("curl -sf http://127.0.0.1:2379/health", SOON)?;
    expect_output(&machines[2], "etcdctl set /after restore", "restore\n")?;
    health(context, keeper)
}

/// Adds a machine without data to the cluster of another one.
fn join(machine: &Machine<'_>, through: &Machine<'_>) -> Result<(), Failure> {
    let unit = format!("[Service]\nEnvironment=ETCD_PEERS={}:7001\n", through.node()?.address);
    machine.succeed("sudo mkdir -p /etc/systemd/system/etcd.service.d")?;
    machine.write("/etc/systemd/system/etcd.service.d/50-peers.conf", unit.as_bytes())?;
    machine.succeed("sudo systemctl daemon-reload && sudo systemctl start etcd")?;
    machine.wait_for_unit("etcd.service", FORMED)?;
    machine.wait_until_succeeds("curl -sf http://127.0.0.1:2379/health", SOON)?;
    Ok(())
}

pub const LOST_MAJORITY: Scenario = Scenario {
    name: "kv-lost-majority",
    about: "two of three machines are gone for good: the third one keeps all keys, and two new ones join it",
    nodes: 5,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: lost_majority,
    ..DEFAULTS
};

const FILL: &str = "for i in $(seq 1 60); do etcdctl set /kept/$i $i >/dev/null || exit 1; done";
const KEPT: &str = "etcdctl ls --quorum /kept | wc -l";

/// Starts these machines concurrently as members of the cluster of `peers`.
fn members<'a>(
    context: &Context<'a>,
    numbers: &[usize],
    peers: &[usize],
) -> Result<Vec<Machine<'a>>, Failure> {
    let mut list = Vec::new();
    for number in peers {
        list.push(format!("{}:7001", context.machine(*number).node()?.address));
    }
    let places = "    addr: $private_ipv4:4001\n    peer-addr: $private_ipv4:7001\n";
    let user_data = format!(
        "#cloud-config\ncoreos:\n  etcd:\n{places}    peers: {}\n  units:\n    - name: etcd.service\n      command: start\n",
        list.join(",")
    );
    context.site.set_user_data(user_data.as_bytes())?;
    let machines: Vec<_> = numbers.iter().map(|number| context.machine(*number)).collect();
    for machine in &machines {
        machine.power_on()?;
    }
    for machine in &machines {
        context.site.wait_ready(machine.name(), &Mark::default(), context.site.default_limit())?;
    }
    for machine in &machines {
        machine.wait_for_unit("etcd.service", FORMED)?;
    }
    Ok(machines)
}

fn lost_majority(context: &Context<'_>) -> Result<(), Failure> {
    let first = members(context, &[1, 2, 3], &[1, 2, 3])?;
    let survivor = &first[0];
    first[1].succeed(FILL)?;
    let refused = survivor.fail("sudo etcdctl recover --yes")?;
    expect(refused.contains("a majority of the cluster is alive"), "a refusal that says why", &refused)?;
    first[1].crash()?;
    first[2].crash()?;
    survivor.wait_until_fails("etcdctl set /lost majority", SOON)?;
    let plan = "sudo etcdctl recover >/tmp/plan 2>&1; grep 'nothing was changed' /tmp/plan && cat /tmp/plan";
    let plan = survivor.wait_until_succeeds(plan, SOON)?;
    expect(plan.matches("removes ").count() == 2, "two members to forget", &plan)?;
    survivor.succeed("sudo etcdctl recover --yes && sudo systemctl restart etcd")?;
    survivor.wait_for_unit("etcd.service", FORMED)?;
    expect_output(survivor, KEPT, "60\n")?;
    health_of(context, survivor, &[1])?;
    let new = members(context, &[4, 5], &[1])?;
    for machine in &new {
        machine.wait_until_succeeds("curl -sf http://127.0.0.1:2379/health", SOON)?;
        expect_output(machine, KEPT, "60\n")?;
    }
    expect_output(&new[1], "etcdctl set /found majority", "majority\n")?;
    health_of(context, &new[0], &[1, 4, 5])?;
    // It is a cluster of three: it tolerates the loss of one.
    survivor.crash()?;
    new[0].wait_until_succeeds("etcdctl set /found again", SOON)?;
    Ok(())
}
