//! Row D6: rkt on whole machines, beside Docker, with the units and commands of its tutorials.

mod garbage;
mod images;
mod units;

use machines::cluster::BackendKind::Qemu;

use super::fleet::cluster::{copy_key, form_three};
use super::kv::NODES;
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const RKT: Scenario = Scenario {
    name: "rkt",
    about: "units of fleet run signed images by rkt, beside Docker: ports, flannel, limits, kills, power cuts, garbage (D6)",
    nodes: NODES,
    user_data: Some(include_str!("../user-data/rkt.yaml")),
    long_on: &[Qemu],
    run: rkt,
    ..DEFAULTS
};

fn rkt(context: &Context<'_>) -> Result<(), Failure> {
    let members = form_three(context)?;
    garbage::never_used(&members[0].machine)?;
    let is_qemu = context.backend == Qemu;
    let keys = images::Keys::generate()?;
    for member in &members {
        images::trusted(&member.machine, &keys)?;
        // fleetctl reads the journals of other machines by SSH.
        copy_key(context.site, &member.machine)?;
    }
    images::commands(&members[0].machine)?;
    let [one, two] = units::start(&members, is_qemu)?;
    units::networks(&one, &two, &members)?;
    // Containers may have no control groups with limits, and Docker does not run in them.
    if is_qemu {
        units::limits(&one, &two)?;
        units::beside_docker(&one)?;
    }
    let one = units::killed(one, &two)?;
    let spare = members.iter().find(|member| ![one.id(), two.id()].contains(&member.id.as_str()));
    garbage::collected(&one, spare)?;
    units::rebooted(&two, &members)?;
    units::stopped([&one, &two])
}
