//! Docker on flannel's subnets.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::docker::STARTED as DOCKER_STARTED;
use super::super::kv::{NODES, SOON};
use super::{USER_DATA, VXLAN, subnet};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DOCKER: Scenario = Scenario {
    name: "docker-flannel",
    about: "Docker of three machines uses flannel's subnets, and its containers reach each other by their own addresses",
    nodes: NODES,
    user_data: Some(USER_DATA),
    on: &[Qemu],
    long_on: &[Qemu],
    run: docker,
    ..DEFAULTS
};

fn docker(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machines: Vec<_> = (1..=NODES).map(|number| context.machine(number)).collect();
    let mut bases = Vec::new();
    for machine in &machines {
        bases.push(subnet(machine, &VXLAN)?);
        // Its start loads the image.
        machine.succeed("sudo systemctl start --no-block docker.service")?;
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

/// Each container reaches each other one.
fn reach(hosts: &[(Machine<'_>, String)]) -> Result<(), Failure> {
    for (machine, _) in hosts {
        for (_, address) in hosts {
            machine.wait_until_succeeds(&format!("docker exec app ping -c 1 -W 5 {address}"), SOON)?;
        }
    }
    Ok(())
}
