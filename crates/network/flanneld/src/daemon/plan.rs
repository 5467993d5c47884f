//! `flanneld -plan`, which changes nothing, and `flanneld -teardown`.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, Result};
use flannel_core::{
    Acquisition, LeaseAttributes, LeaseOperation, LeaseSet, LeaseWrite, Settings, SubnetFile, subnet_key,
};
use flannel_network::{Firewall, Network};

use crate::{
    daemon::data_plane::{DataPlane, Plan},
    io::{lease_store::LeaseStore, subnet_file},
};

/// Prints what a start of the daemon would change: writes to the store, and changes of the kernel's tables.
pub async fn print(settings: &Settings) -> Result<ExitCode> {
    let network = Network::open()?;
    let store = LeaseStore::open(&settings.store)?;
    let config = store.config().await.context("Couldn't fetch network config")?;
    let (mut plane, interfaces) = DataPlane::open(network, settings, config).await?;
    let (network, external) = (&plane.config.network, &plane.external);
    println!("network   {network} in subnets of /{}, backend {}", plane.config.subnet_len, plane.backend);
    println!("interface {} {}, public address {}", external.name, external.address, external.public_ip);
    plane.check(&interfaces)?;
    let attributes = plane.observe_device().await?;
    let snapshot = store.leases().await.context("cannot read the leases")?;
    let acquisition = Acquisition {
        config: &plane.config,
        attributes: &attributes,
        previous: plane.former.as_ref().map(SubnetFile::subnet),
        leases: &snapshot.leases,
        failed_attempts: 0,
    };
    let writes = acquisition.plan(&mut |below| fastrand::usize(..below))?;
    writes.iter().for_each(|write| print_write(write, &attributes));
    let Some(subnet) = writes.last().map(|write| write.subnet) else { return Ok(ExitCode::SUCCESS) };
    let mut leases = LeaseSet::default();
    leases.replace(snapshot.leases);
    let plan = plane.plan(&leases, subnet).await?;
    for device in plane.devices_of_other_backends().await? {
        println!("{:9} {}, would be removed: it has routes to the network", "device", device.name);
    }
    for step in &plan.steps {
        println!("{:9} {}  # {}", "table", step.change, step.reason);
    }
    for (subnet, host) in &plan.datagrams {
        println!("{:9} {subnet} by UDP to {host}", "packets");
    }
    for rule in plane.rules(subnet, settings.ip_masq, settings.forward_rules) {
        println!("{:9} {}", "rule", rule);
    }
    plan.ignored.iter().for_each(|ignored| println!("{ignored}"));
    Ok(ExitCode::SUCCESS)
}

fn print_write(write: &LeaseWrite, attributes: &LeaseAttributes) {
    let key = subnet_key(write.subnet);
    let operation = match write.operation {
        LeaseOperation::Create => format!("create {key} {}", attributes.to_json()),
        LeaseOperation::Update { .. } => format!("update {key} {}", attributes.to_json()),
        LeaseOperation::Delete { .. } => format!("delete {key}"),
    };
    println!("{:9} {operation}  # {}", "lease", write.reason);
}

/// Removes the kernel's objects. The lease remains: the next start leases the same subnet.
pub async fn teardown(settings: &Settings) -> Result<ExitCode> {
    let network = Network::open()?;
    Firewall::open()?.remove_rules().await?;
    let devices = network.own_devices().await.context("cannot list the devices")?;
    network.remove_devices(&devices).await.context("cannot remove the devices")?;
    devices.iter().for_each(|device| println!("removed {}", device.name));
    let store = LeaseStore::open(&settings.store)?;
    // Routes of host-gw are not those of a device: the configuration says which ones are flanneld's.
    let config = store.config().await.context("routes on the external interface remain")?;
    let (mut plane, _) = DataPlane::open(network, settings, config).await?;
    let steps = LeaseSet::default().plan(&plane.observe().await?, &flannel_core::Tables::default());
    steps.iter().for_each(|step| println!("{}", step.change));
    plane.apply(&Plan { steps, datagrams: BTreeMap::new(), ignored: Vec::new() }).await;
    subnet_file::remove(&settings.subnet_file)?;
    Ok(ExitCode::SUCCESS)
}
