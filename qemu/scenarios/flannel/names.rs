//! Names of containers.

use super::super::kv::SOON;
use super::host::Host;
use crate::failure::Failure;

/// What an operator adds to the cloud-config.
const SAMPLE: &str = include_str!("../../../cloud-config/container-names.sample");

/// Containers look up each other's names at their machine; a name follows its key.
pub fn looked_up(hosts: &[Host<'_>]) -> Result<(), Failure> {
    for (number, host) in (1..).zip(hosts) {
        host.machine.write("/run/container-names.yaml", SAMPLE.as_bytes())?;
        host.machine.succeed("sudo coreos-cloudinit --from-file=/run/container-names.yaml")?;
        host.machine.succeed(&publish(number, &host.container))?;
        let gateway = host.container.trim_end_matches(".2");
        host.machine.succeed(&format!(
            "sudo mkdir -p /etc/netns/container && \
             echo nameserver {gateway}.1 | sudo tee /etc/netns/container/resolv.conf"
        ))?;
    }
    for host in hosts {
        for (number, other) in (1..).zip(hosts) {
            host.machine.wait_until_succeeds(&look_up(number, &other.container), SOON)?;
        }
    }
    let [one, two, three] = hosts else { return Ok(()) };
    one.machine.succeed(&publish(3, &two.container))?;
    three.machine.wait_until_succeeds(&look_up(3, &two.container), SOON)?;
    one.machine.succeed("etcdctl rm /containers/app3.internal")?;
    // The server answers, and has the other name no more.
    let removed = format!("{} && ! {}", look_up(1, &one.container), look_up(3, &two.container));
    two.machine.wait_until_succeeds(&removed, SOON)?;
    Ok(())
}

fn publish(number: usize, address: &str) -> String {
    format!("etcdctl set /containers/app{number}.internal {address}")
}

/// Succeeds if the name has the address in the machine's container.
fn look_up(number: usize, address: &str) -> String {
    format!(
        "sudo ip netns exec container busybox nslookup -type=a app{number}.internal | grep -F 'Address: {address}'"
    )
}
