//! flanneld's own device, through which packets leave for other hosts: one file per backend that has one.

mod udp;
mod underlay;
mod vxlan;
mod wireguard;

use std::{collections::BTreeMap, net::SocketAddrV4};

use anyhow::{Context, Result};
use flannel_core::{Backend, LeaseAttributes, Settings};
use ipnet::Ipv4Net;

pub use self::underlay::Underlay;
use self::{udp::Udp, vxlan::Vxlan, wireguard::Wireguard};

/// The device of a backend.
pub enum Overlay {
    /// Packets leave through the external interface only; the type of the leases.
    None(&'static str),
    Vxlan(Vxlan),
    Udp(Udp),
    Wireguard(Wireguard),
}

impl Overlay {
    pub fn new(backend: &Backend, settings: &Settings) -> Overlay {
        match backend {
            Backend::HostGw | Backend::Alloc => Overlay::None(backend.lease_type()),
            Backend::Vxlan(settings) => Overlay::Vxlan(Vxlan::new(*settings)),
            Backend::Udp { port } => Overlay::Udp(Udp::new(*port)),
            Backend::Wireguard(wireguard) => {
                Overlay::Wireguard(Wireguard::new(*wireguard, settings.wireguard_key_file.clone()))
            }
        }
    }

    /// Creates or restores what the lease publishes, and returns the value that the lease is to have.
    pub async fn prepare(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        match self {
            Overlay::None(lease_type) => Ok(LeaseAttributes::plain(on.external.public_ip, lease_type)),
            Overlay::Vxlan(vxlan) => vxlan.prepare(on).await,
            Overlay::Udp(udp) => udp.prepare(on).await,
            Overlay::Wireguard(wireguard) => wireguard.prepare(on).await,
        }
    }

    /// Completes the device with what the host's subnet determines: the address from which the host's own packets to
    /// containers are sent.
    pub async fn complete(&mut self, on: Underlay<'_>, subnet: Ipv4Net) -> Result<()> {
        let address = Ipv4Net::new_assert(subnet.network(), 32);
        if let Overlay::Udp(udp) = self {
            return udp.complete(on, address, subnet).await;
        }
        let Some(index) = self.index() else { return Ok(()) };
        on.network.ensure_address(index, address).await.context("cannot set the address of the device")?;
        Ok(())
    }

    /// The value that the lease would have, for a plan; uses an existing device, and creates none.
    pub async fn observe(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        match self {
            Overlay::None(lease_type) => Ok(LeaseAttributes::plain(on.external.public_ip, lease_type)),
            Overlay::Vxlan(vxlan) => vxlan.observe(on).await,
            Overlay::Udp(udp) => udp.observe(on).await,
            Overlay::Wireguard(wireguard) => wireguard.observe(on).await,
        }
    }

    /// Index of the device; none before it exists, and for backends without one.
    pub fn index(&self) -> Option<u32> {
        match self {
            Overlay::None(_) => None,
            Overlay::Vxlan(vxlan) => vxlan.index,
            Overlay::Udp(udp) => udp.index(),
            Overlay::Wireguard(wireguard) => wireguard.index,
        }
    }

    /// The hosts to which flanneld itself sends packets; the kernel sends those of other backends than udp.
    pub fn set_hosts(&mut self, hosts: &BTreeMap<Ipv4Net, SocketAddrV4>) {
        if let Overlay::Udp(udp) = self {
            udp.set_hosts(hosts);
        }
    }
}
