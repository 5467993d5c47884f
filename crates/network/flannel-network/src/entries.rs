//! The messages of neighbors, forwarding entries and routes, from and to flannel's tables.

use std::net::Ipv4Addr;

use flannel_core::{MacAddress, Route, RouteLink};
use ipnet::Ipv4Net;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
};

use crate::network::Links;

pub const MAIN_TABLE: u8 = RouteHeader::RT_TABLE_MAIN;

/// A neighbor of the device.
pub fn neighbor(device: u32, address: Ipv4Addr, mac: MacAddress) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
    ];
    message
}

/// A forwarding entry of the vxlan device itself, not of a bridge.
pub fn forwarding(device: u32, mac: MacAddress, host: Ipv4Addr) -> NeighbourMessage {
    let mut message = neighbor(device, host, mac);
    message.header.family = AddressFamily::Bridge;
    message.header.flags = NeighbourFlags::Own;
    message
}

/// The request for a dump of neighbors, or with `AddressFamily::Bridge` of forwarding entries.
pub fn neighbors_request(family: AddressFamily, device: u32) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    if family == AddressFamily::Inet {
        message.attributes = vec![NeighbourAttribute::IfIndex(device)];
    }
    RouteNetlinkMessage::GetNeighbour(message)
}

/// A permanent neighbor of the device: its address and MAC address.
pub fn read_neighbor(message: RouteNetlinkMessage, device: u32) -> Option<(Ipv4Addr, MacAddress)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let header = &message.header;
    let permanent = header.state == NeighbourState::Permanent && header.family == AddressFamily::Inet;
    (permanent && header.ifindex == device).then(|| entry(&message))?
}

/// A forwarding entry of the device itself that has a destination.
pub fn read_forwarding(message: RouteNetlinkMessage, device: u32) -> Option<(MacAddress, Ipv4Addr)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let own = message.header.flags.contains(NeighbourFlags::Own);
    (own && message.header.ifindex == device).then(|| entry(&message))?.map(|(host, mac)| (mac, host))
}

fn entry(message: &NeighbourMessage) -> Option<(Ipv4Addr, MacAddress)> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            // The kernel's family of a forwarding entry is that of bridges: the address is bytes then.
            NeighbourAttribute::Destination(destination) => address = ipv4(destination),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => (),
        }
    }
    Some((address?, MacAddress(mac?)))
}

fn ipv4(address: &NeighbourAddress) -> Option<Ipv4Addr> {
    match address {
        NeighbourAddress::Inet(address) => Some(*address),
        NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(Ipv4Addr::from),
        _ => None,
    }
}

/// A route as flannel sets it: in table main, of protocol boot, without a metric.
pub fn route(links: Links, subnet: Ipv4Net, route: &Route) -> Option<RouteMessage> {
    let index = match route.link {
        RouteLink::Overlay => links.overlay?,
        RouteLink::External => links.external,
    };
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = MAIN_TABLE;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.header.destination_prefix_length = subnet.prefix_len();
    message.attributes =
        vec![RouteAttribute::Destination(RouteAddress::Inet(subnet.network())), RouteAttribute::Oif(index)];
    if let Some(gateway) = route.gateway {
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        if route.link == RouteLink::Overlay {
            message.header.flags = RouteFlags::Onlink;
        }
    }
    Some(message)
}

/// The same as a pattern for its removal, which matches any protocol, scope and metric.
pub fn route_pattern(links: Links, subnet: Ipv4Net, of: &Route) -> Option<RouteMessage> {
    let mut message = route(links, subnet, of)?;
    message.header.protocol = RouteProtocol::Unspec;
    message.header.scope = RouteScope::NoWhere;
    message.header.flags = RouteFlags::empty();
    Some(message)
}

/// The request for a dump of the IPv4 routes in table main, of one device if it is set.
pub fn routes_request(device: Option<u32>) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.attributes = vec![RouteAttribute::Table(u32::from(MAIN_TABLE))];
    message.attributes.extend(device.map(RouteAttribute::Oif));
    RouteNetlinkMessage::GetRoute(message)
}

/// Whether packets can take the route, and it is in table main.
pub fn is_in_main_table(route: &RouteMessage) -> bool {
    route.header.table == MAIN_TABLE && route.header.kind == RouteType::Unicast
}

/// Destination and next hop of a route through one device; `None` if flannel's tables have no such route.
pub fn read_route(message: &RouteMessage, device: u32, link: RouteLink) -> Option<(Ipv4Net, Route)> {
    let header = &message.header;
    if header.address_family != AddressFamily::Inet || header.tos != 0 || !is_in_main_table(message) {
        return None;
    }
    let (mut destination, mut gateway, mut interface) = (Ipv4Addr::UNSPECIFIED, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => return None,
            _ => (),
        }
    }
    let subnet = Ipv4Net::new(destination, header.destination_prefix_length).ok()?;
    (interface == Some(device)).then_some((subnet, Route { gateway, link }))
}
