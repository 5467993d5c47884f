//! The TUN device and the socket of backend udp.

use std::{collections::BTreeMap, net::SocketAddrV4, sync::Arc};

use anyhow::{Context, Result};
use flannel_core::{LeaseAttributes, UDP_DEVICE, UdpHosts};
use ipnet::Ipv4Net;
use tokio::{net::UdpSocket, sync::watch};

use crate::{
    daemon::overlay::underlay::{Underlay, log_outcome},
    io::udp_proxy::UdpProxy,
};

pub struct Udp {
    port: u16,
    socket: Option<Arc<UdpSocket>>,
    proxy: Option<UdpProxy>,
    /// Of another daemon's device, which a plan observes.
    observed: Option<u32>,
    hosts: BTreeMap<Ipv4Net, SocketAddrV4>,
    /// The same, for the proxy.
    table: watch::Sender<UdpHosts>,
}

impl Udp {
    pub fn new(port: u16) -> Udp {
        Udp {
            port,
            socket: None,
            proxy: None,
            observed: None,
            hosts: BTreeMap::new(),
            table: watch::Sender::default(),
        }
    }

    /// Opens the socket. The device needs an address, which only the lease determines.
    pub async fn prepare(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        if self.socket.is_none() {
            tracing::warn!(
                "backend udp copies each packet twice through this process: it is slow, and connects no container while \
                 flanneld restarts. vxlan does neither"
            );
            let address = SocketAddrV4::new(on.external.address, self.port);
            let socket = UdpSocket::bind(address).await.with_context(|| {
                format!("backend udp cannot receive at {address}: another program, or another flanneld, may use it")
            })?;
            self.socket = Some(Arc::new(socket));
        }
        Ok(LeaseAttributes::plain(on.external.public_ip, ""))
    }

    pub async fn complete(&mut self, on: Underlay<'_>, address: Ipv4Net, subnet: Ipv4Net) -> Result<()> {
        if let Some(proxy) = &self.proxy {
            match on.network.ensure_tun(proxy.device(), address, on.mtu).await? {
                Some(outcome) => {
                    log_outcome(UDP_DEVICE, &outcome);
                    return Ok(());
                }
                None => tracing::warn!("device {UDP_DEVICE} was deleted: creating it again"),
            }
        }
        self.proxy = None;
        let socket = self.socket.clone().context("the socket of backend udp is not open")?;
        let device = on.network.open_tun(UDP_DEVICE).await?;
        on.network.ensure_tun(&device, address, on.mtu).await?;
        tracing::info!("created device {UDP_DEVICE}");
        self.proxy = Some(UdpProxy::start(device, socket, self.table.subscribe(), subnet));
        Ok(())
    }

    pub async fn observe(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        self.observed = on.network.existing_tun(UDP_DEVICE).await.context("cannot read the TUN device")?;
        let state = if self.observed.is_some() { "exists" } else { "would be created" };
        println!("device    {UDP_DEVICE}, {state}");
        Ok(LeaseAttributes::plain(on.external.public_ip, ""))
    }

    pub fn index(&self) -> Option<u32> {
        self.proxy.as_ref().map(|proxy| proxy.device().index).or(self.observed)
    }

    pub fn set_hosts(&mut self, hosts: &BTreeMap<Ipv4Net, SocketAddrV4>) {
        if self.hosts == *hosts {
            return;
        }
        for (subnet, host) in hosts.iter().filter(|(subnet, host)| self.hosts.get(subnet) != Some(host)) {
            tracing::info!("packets to {subnet} are sent to {host}");
        }
        for subnet in self.hosts.keys().filter(|subnet| !hosts.contains_key(subnet)) {
            tracing::info!("packets to {subnet} are answered as unreachable: there is no lease");
        }
        self.table.send_replace(UdpHosts::new(hosts));
        self.hosts.clone_from(hosts);
    }
}
