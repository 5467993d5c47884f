//! Docker on flannel's subnets.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::docker::{self, STARTED as DOCKER_STARTED};
use super::super::kv::{self, FORMED, NODES, SOON};
use super::host::{LEASED, START, VXLAN, subnet};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DOCKER: Scenario = Scenario {
    name: "docker-flannel",
    about: "Docker of three machines uses flannel's subnets, and its containers reach each other by their own addresses",
    nodes: NODES,
    user_data: Some(include_str!("../../user-data/flannel.yaml")),
    on: &[Qemu],
    long_on: &[Qemu],
    run,
    ..DEFAULTS
};

pub const DOCKER_FIRST: Scenario = Scenario {
    name: "docker-before-flannel",
    about: "Docker that started before flannel gets the lease's subnet, once no container runs",
    nodes: 1,
    user_data: Some(kv::USER_DATA),
    run: docker_first,
    ..DOCKER
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machines: Vec<_> = (1..=NODES).map(|number| context.machine(number)).collect();
    let mut bases = Vec::new();
    for machine in &machines {
        bases.push(subnet(machine, &VXLAN)?);
        // The first use starts it, by its socket; its start loads the image.
        machine.succeed("sudo systemd-run --quiet docker ps")?;
    }
    let mut hosts = Vec::new();
    for (machine, base) in machines.into_iter().zip(bases) {
        machine.wait_for_unit("docker.service", DOCKER_STARTED)?;
        machine.succeed("docker run --pull never --detach --name app busybox sleep 1000000")?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}";
        let addresses = machine.succeed(&format!("docker inspect --format '{format}' app"))?;
        expect(addresses == format!("{base}.2 {base}.1\n"), "addresses of the lease", &addresses)?;
        let mtu = machine.succeed("docker exec app cat /sys/class/net/eth0/mtu")?;
        expect(mtu == "1450\n", "the MTU of the lease", &mtu)?;
        hosts.push((machine, format!("{base}.2")));
    }
    reach(&hosts)?;
    // As Docker leaves the chain where it enabled forwarding itself: the network's packets pass all the same, before
    // and after Docker writes its rules anew.
    let (machine, _) = &hosts[0];
    machine.succeed("sudo iptables --policy FORWARD DROP")?;
    reach(&hosts)?;
    machine.succeed("sudo systemctl restart --no-block docker.service")?;
    machine.wait_until_succeeds("docker start app", DOCKER_STARTED)?;
    reach(&hosts)
}

fn docker_first(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    docker::start(&machine)?;
    machine.succeed("ip -4 address show docker0 | grep 172.17.0.1/16")?;
    machine.succeed("docker run --pull never --detach --name app busybox sleep 1000000")?;
    let configure = "etcdctl set /coreos.com/network/config '{\"Network\":\"10.1.0.0/16\"}'";
    machine.wait_until_succeeds(configure, FORMED)?;
    machine.succeed(START)?;
    machine.wait_until_succeeds("systemctl is-failed flannel-docker-subnet.service", LEASED)?;
    let reason = machine.succeed("journalctl --no-pager -u flannel-docker-subnet.service | grep docker0")?;
    expect(reason.contains("1 running containers do not reach"), "the reason", &reason)?;
    machine
        .succeed("docker inspect --format '{{.State.Running}}' app | grep true && docker rm --force app")?;
    machine.succeed("sudo systemctl start flannel-docker-subnet.service")?;
    let of_the_lease =
        ". /run/flannel/subnet.env && ip -4 address show docker0 | grep -F \"inet $FLANNEL_SUBNET \"";
    machine.wait_until_succeeds(of_the_lease, DOCKER_STARTED)?;
    machine.wait_for_unit("docker.service", DOCKER_STARTED)?;
    // Nothing to do any more.
    machine.succeed("sudo systemctl start flannel-docker-subnet.service")?;
    machine
        .succeed("docker run --pull never --rm busybox ip -4 address show eth0 | grep 'inet 10[.]1[.]'")?;
    Ok(())
}

/// Each container reaches each other one.
fn reach(hosts: &[(Machine<'_>, String)]) -> Result<(), Failure> {
    for (machine, _) in hosts {
        for (_, address) in hosts {
            machine.wait_until_succeeds(&format!("docker exec app ping -c 1 -W 5 {address}"), SOON)?;
        }
    }
    Ok(())
}
