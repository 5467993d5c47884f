//! The bridge of a network.

use std::fs;

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use netlink_packet_route::link::InfoKind;

use super::device::{Device, Devices};
use super::subnet::Subnet;

/// Creates what is missing of the bridge, and returns its index.
pub async fn ensure(devices: &Devices, subnet: &Subnet) -> anyhow::Result<u32> {
    let name = subnet.bridge;
    let wanted = Ipv4Net::new(subnet.gateway, subnet.prefix).context("the bridge's address")?;
    let (listed, addresses) = (devices.list().await?, devices.addresses().await?);
    let is_of = |device: &Device| addresses.contains(&(device.index, wanted));
    if let Some(other) = listed.iter().find(|device| device.name != name && is_of(device)) {
        bail!(
            "{} has the address {wanted} of the network {}; pods need it for {name}",
            other.name,
            subnet.name
        );
    }
    let bridge = match listed.into_iter().find(|device| device.name == name) {
        Some(device) if device.kind == Some(InfoKind::Bridge) => device,
        Some(_) => bail!("interface {name} is no bridge; pods need the name for the network {}", subnet.name),
        None => devices.create_bridge(name, subnet.gateway).await?,
    };
    if !is_of(&bridge) {
        devices.add_address(&bridge, wanted).await?;
    }
    if bridge.mtu != subnet.mtu {
        devices.set_mtu(&bridge, subnet.mtu).await?;
    }
    if !bridge.is_up {
        devices.set_up(&bridge).await?;
    }
    set("/proc/sys/net/ipv4/ip_forward", "1")?;
    // Programs of the host reach forwarded ports by its loopback addresses; a rule protects those from pods.
    set(&format!("/proc/sys/net/ipv4/conf/{name}/route_localnet"), "1")?;
    Ok(bridge.index)
}

fn set(path: &str, value: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    fs::write(path, value).with_context(|| format!("cannot set {path} to {value}"))
}
