//! Another configuration of the network, and a subnet of a lost machine.

use super::super::kv::SOON;
use super::host::{Backend, Host, all_pairs, lease};
use crate::failure::{Failure, expect};

const NETWORK: &str = "10.2.0.0/16";
/// The lease of a machine that is lost.
const LOST: &str = "/coreos.com/network/subnets/10.2.2.0-24";
const VALUE: &str = r#"{"PublicIP":"192.0.2.9"}"#;

/// The network changes with the daemons' restarts. Of its three subnets one is a lost machine's, and is leased once that
/// lease has ended.
pub fn changed(hosts: Vec<Host<'_>>, backend: &Backend) -> Result<(), Failure> {
    let Some(first) = hosts.first() else { return Ok(()) };
    let config = format!(
        r#"{{"Network":"{NETWORK}","SubnetMin":"10.2.1.0","SubnetMax":"10.2.3.0","Backend":{{"Type":"{}"}}}}"#,
        backend.kind
    );
    first.machine.succeed(&format!("etcdctl set {LOST} '{VALUE}'"))?;
    first.machine.succeed(&format!("etcdctl set /coreos.com/network/config '{config}'"))?;
    all_pairs(&hosts)?;

    let mut moved = Vec::new();
    for (number, Host { machine, .. }) in hosts.into_iter().enumerate() {
        // The tutorial's drop-in sets its own configuration at each start.
        machine.succeed(
            "sudo rm -f /etc/systemd/system/flanneld.service.d/50-network-config.conf && \
             sudo systemctl daemon-reload && sudo systemctl restart --no-block flanneld",
        )?;
        if number == 2 {
            machine.wait_until_succeeds("journalctl -u flanneld --no-pager | grep 'out of subnets'", SOON)?;
            let found = machine.succeed(&format!("etcdctl get {LOST}"))?;
            expect(found.trim() == VALUE, "the lease of the lost machine", &found)?;
            machine.succeed(&format!("etcdctl set {LOST} '{VALUE}' --ttl 1"))?;
        }
        machine.wait_until_succeeds(&format!("grep {NETWORK} /run/flannel/subnet.env"), SOON)?;
        moved.push(lease(machine, backend, NETWORK)?);
    }
    let mut keys: Vec<_> = moved.iter().map(|host| &*host.key).collect();
    expect(keys[2] == "10.2.2.0-24", "the subnet of the lost machine", keys[2])?;
    keys.sort_unstable();
    expect(keys == ["10.2.1.0-24", "10.2.2.0-24", "10.2.3.0-24"], "three subnets", &keys.join(" "))?;
    all_pairs(&moved)?;
    for host in &moved {
        host.machine.fail("ip route | grep '10[.]1[.]'")?;
    }
    Ok(())
}
