//! The LAN of a cluster: machines find each other by address and by name, and can be cut off.

use std::time::Duration;

use machines::cluster::BackendKind::{Nspawn, Qemu};

use crate::failure::Failure;
use crate::scenario::{Scenario, Stage};

const SOON: Duration = Duration::from_secs(60);

pub const LAN: Scenario = Scenario {
    name: "lan",
    about: "machines reach each other on their LAN by address and by name",
    nodes: 2,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: None,
    run: lan,
};

fn lan(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    for (from, to) in [(1, 2), (2, 1)] {
        let (from, to) = (stage.machine(from), stage.machine(to));
        let node = to.node()?;
        from.wait_until_succeeds(&format!("sudo ping -c 1 -W 2 {}", node.address), SOON)?;
        let by_name = format!("sudo ping -4 -c 1 -W 2 {} | grep -F '({})'", node.name, node.address);
        from.wait_until_succeeds(&by_name, SOON)?;
    }
    Ok(())
}

pub const PARTITION: Scenario = Scenario {
    name: "partition",
    about: "a machine that is cut off the LAN reaches nobody until it is healed, and ssh still works",
    nodes: 2,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: None,
    run: partition,
};

fn partition(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let (one, two) = (stage.machine(1), stage.machine(2));
    let ping = |address: std::net::Ipv4Addr| format!("sudo ping -c 1 -W 2 {address}");
    let (to_one, to_two) = (ping(one.node()?.address), ping(two.node()?.address));
    one.wait_until_succeeds(&to_two, SOON)?;
    two.partition()?;
    one.fail(&to_two)?;
    two.fail(&to_one)?;
    two.heal()?;
    one.wait_until_succeeds(&to_two, SOON)?;
    two.wait_until_succeeds(&to_one, SOON)?;
    Ok(())
}
