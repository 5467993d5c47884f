//! Devices, addresses and routes of one network namespace.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use netlink::Requests;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

/// The interface in the pod.
pub const INSIDE: &str = "eth0";
/// Every namespace's first device.
const LOOPBACK: u32 = 1;

pub struct Devices {
    route: Requests<RouteNetlinkMessage>,
}

/// A device as far as networks of pods need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub is_up: bool,
    /// Of virtual devices.
    pub kind: Option<InfoKind>,
}

impl Devices {
    /// Of the network namespace of the calling thread, within a runtime.
    pub fn open() -> anyhow::Result<Self> {
        let route = Requests::open(NETLINK_ROUTE).context("cannot open a netlink socket for devices")?;
        Ok(Self { route })
    }

    pub async fn list(&self) -> anyhow::Result<Vec<Device>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.route.dump(request, read_device).await.context("cannot list the kernel's devices")
    }

    /// IPv4 addresses, with the indexes of their devices.
    pub async fn addresses(&self) -> anyhow::Result<Vec<(u32, Ipv4Net)>> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet;
        let addresses = self.route.dump(RouteNetlinkMessage::GetAddress(request), read_address).await;
        addresses.context("cannot list the kernel's addresses")
    }

    /// The names of interfaces that are one side of a pair.
    pub async fn pairs(&self) -> anyhow::Result<Vec<String>> {
        let devices = self.list().await?.into_iter();
        Ok(devices.filter(|device| device.kind == Some(InfoKind::Veth)).map(|device| device.name).collect())
    }

    pub async fn create_bridge(&self, name: &str, gateway: Ipv4Addr) -> anyhow::Result<Device> {
        let mut request = creation(name, InfoKind::Bridge, None);
        request.attributes.push(LinkAttribute::Address(hardware_address(gateway)));
        match self.route.acknowledge(RouteNetlinkMessage::NewLink(request), NLM_F_CREATE | NLM_F_EXCL).await {
            Err(error) if error.is(Errno::EEXIST) => (),
            created => created.with_context(|| format!("cannot create bridge {name}"))?,
        }
        self.named(name).await
    }

    /// A pair of interfaces: one in the bridge, the other [`INSIDE`] the namespace of a process, for the address `own`.
    pub async fn create_pair(
        &self,
        name: &str,
        bridge: u32,
        mtu: u32,
        pid: i32,
        own: Ipv4Addr,
    ) -> anyhow::Result<()> {
        let pid = u32::try_from(pid).context("process ID")?;
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(INSIDE.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Address(hardware_address(own)),
            LinkAttribute::NetNsPid(pid),
        ];
        let mut request = creation(name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))));
        request.attributes.extend([LinkAttribute::Mtu(mtu), LinkAttribute::Controller(bridge)]);
        (request.header.flags, request.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
        let request = RouteNetlinkMessage::NewLink(request);
        let created = self.route.acknowledge(request, NLM_F_CREATE | NLM_F_EXCL).await;
        created.with_context(|| format!("cannot create the pair of interfaces {name} and {INSIDE}"))
    }

    /// Removes a pair, if it is there. A device of another kind is not a pod's.
    pub async fn remove_pair(&self, name: &str) -> anyhow::Result<()> {
        let failed = || format!("cannot remove interface {name}");
        let Some(link) = self.route.link(name).await.with_context(failed)? else { return Ok(()) };
        let device = read_device(RouteNetlinkMessage::NewLink(link));
        match device.filter(|device| device.kind == Some(InfoKind::Veth)) {
            Some(device) => self.route.delete_link(device.index).await.with_context(failed),
            None => Ok(()),
        }
    }

    pub async fn set_loopback_up(&self) -> anyhow::Result<()> {
        self.route.set_up(LOOPBACK).await.context("cannot set the pod's loopback interface up")
    }

    /// Gives a device an address and sets it up, with a route to everything by `gateway`.
    pub async fn configure(&self, name: &str, address: Ipv4Net, gateway: Ipv4Addr) -> anyhow::Result<()> {
        let device = self.named(name).await?;
        self.add_address(&device, address).await?;
        self.set_up(&device).await?;
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes =
            vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(device.index)];
        let request = RouteNetlinkMessage::NewRoute(route);
        let added = self.route.acknowledge(request, NLM_F_CREATE | NLM_F_EXCL).await;
        added.with_context(|| format!("cannot add the route by {gateway}"))
    }

    pub async fn add_address(&self, device: &Device, address: Ipv4Net) -> anyhow::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = address.prefix_len();
        message.header.index = device.index;
        let ip = IpAddr::V4(address.addr());
        message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
        let request = RouteNetlinkMessage::NewAddress(message);
        let added = self.route.acknowledge(request, NLM_F_CREATE | NLM_F_REPLACE).await;
        added.with_context(|| format!("cannot add address {address} to interface {}", device.name))
    }

    pub async fn set_mtu(&self, device: &Device, mtu: u32) -> anyhow::Result<()> {
        let changed = self.route.change_link(device.index, vec![LinkAttribute::Mtu(mtu)]).await;
        changed.with_context(|| format!("cannot set the MTU of {} to {mtu}", device.name))
    }

    pub async fn set_up(&self, device: &Device) -> anyhow::Result<()> {
        self.route
            .set_up(device.index)
            .await
            .with_context(|| format!("cannot set interface {} up", device.name))
    }

    async fn named(&self, name: &str) -> anyhow::Result<Device> {
        let link = self.route.link(name).await.with_context(|| format!("cannot observe {name}"))?;
        let device = link.and_then(|link| read_device(RouteNetlinkMessage::NewLink(link)));
        match device {
            Some(device) => Ok(device),
            None => bail!("interface {name} was removed by another program"),
        }
    }
}

/// The hardware address of an IPv4 address. Neighbors find the next pod with that address immediately, whatever they
/// remember. A bridge without one of its own takes those of its ports, and udev assigns another when it sees the bridge:
/// each change makes the gateway unreachable for pods that remember the former.
fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    // Locally administered; the prefix of CNI's bridges.
    [&[0x0a, 0x58], &address.octets()[..]].concat()
}

fn creation(name: &str, kind: InfoKind, data: Option<InfoData>) -> LinkMessage {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    let mut request = LinkMessage::default();
    request.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)];
    request
}

fn read_device(message: RouteNetlinkMessage) -> Option<Device> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let is_up = link.header.flags.contains(LinkFlags::Up);
    let mut device = Device { index: link.header.index, name: String::new(), mtu: 0, is_up, kind: None };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name = name,
            LinkAttribute::Mtu(mtu) => device.mtu = mtu,
            LinkAttribute::LinkInfo(info) => {
                device.kind = info.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind),
                    _ => None,
                });
            }
            _ => (),
        }
    }
    Some(device)
}

fn read_address(message: RouteNetlinkMessage) -> Option<(u32, Ipv4Net)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // On a link to a single host, `Address` is the other host's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    Some((message.header.index, Ipv4Net::new(local, message.header.prefix_len).ok()?))
}
