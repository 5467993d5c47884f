//! The network interfaces of the host.

use std::{collections::BTreeMap, net::IpAddr};

use flannel_core::Interface;
use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkMessage},
    route::{RouteAttribute, RouteMessage},
};

use crate::{
    entries::{is_in_main_table, routes_request},
    network::Network,
};

/// The interfaces cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the kernel's {what}")]
pub struct InterfacesError {
    what: &'static str,
    #[source]
    source: RequestError,
}

fn failed(what: &'static str) -> impl FnOnce(RequestError) -> InterfacesError {
    move |source| InterfacesError { what, source }
}

impl Network {
    /// All interfaces, by index.
    pub async fn interfaces(&self) -> Result<Vec<Interface>, InterfacesError> {
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = self.route.dump(links, interface).await.map_err(failed("links"))?;
        let mut interfaces: BTreeMap<_, _> = links.into_iter().map(|link| (link.index, link)).collect();
        let addresses = self.addresses(None).await.map_err(failed("IPv4 addresses"))?;
        for (index, address) in addresses {
            if let Some(interface) = interfaces.get_mut(&index) {
                interface.addresses.push(address);
            }
        }
        Ok(interfaces.into_values().collect())
    }

    /// Index of the interface of the IPv4 default route with the lowest metric; `None` without such a route.
    pub async fn default_interface(&self) -> Result<Option<u32>, InterfacesError> {
        let routes =
            self.route.dump(routes_request(None), default_route).await.map_err(failed("IPv4 routes"))?;
        Ok(routes.into_iter().min_by_key(|(metric, _)| *metric).map(|(_, index)| index))
    }

    /// IPv4 addresses and the indexes of their interfaces: of all, or of one.
    pub(crate) async fn addresses(&self, index: Option<u32>) -> Result<Vec<(u32, Ipv4Net)>, RequestError> {
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet;
        request.header.index = index.unwrap_or(0);
        let addresses = self.route.dump(RouteNetlinkMessage::GetAddress(request), address).await?;
        Ok(addresses.into_iter().filter(|(of, _)| index.is_none_or(|index| index == *of)).collect())
    }
}

fn interface(message: RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let mut interface =
        Interface { index: link.header.index, name: String::new(), mtu: 0, addresses: Vec::new() };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = name,
            LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
            _ => (),
        }
    }
    Some(interface)
}

fn address(message: RouteNetlinkMessage) -> Option<(u32, Ipv4Net)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    // On a link to a single host, `Address` is the other host's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })?;
    let address = Ipv4Net::new(local, message.header.prefix_len).ok()?;
    Some((message.header.index, address))
}

/// Metric and interface of a default route; of several next hops, the first one's.
fn default_route(message: RouteNetlinkMessage) -> Option<(u32, u32)> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    if route.header.destination_prefix_length != 0 || !is_in_main_table(&route) {
        return None;
    }
    let metric = metric(&route);
    let interface = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
        _ => None,
    });
    Some((metric, interface?))
}

/// 0 precedes all others.
pub(crate) fn metric(route: &RouteMessage) -> u32 {
    let metric = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    metric.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::entries::MAIN_TABLE;

    #[test]
    fn the_default_route() {
        let route = |prefix, table, attributes: &[RouteAttribute]| {
            let mut route = RouteMessage::default();
            route.header.destination_prefix_length = prefix;
            route.header.table = table;
            route.header.kind = netlink_packet_route::route::RouteType::Unicast;
            route.attributes = attributes.to_vec();
            default_route(RouteNetlinkMessage::NewRoute(route))
        };
        let metric = RouteAttribute::Priority(100);
        assert_eq!(route(0, MAIN_TABLE, &[metric.clone(), RouteAttribute::Oif(3)]), Some((100, 3)));
        assert_eq!(route(0, MAIN_TABLE, &[RouteAttribute::Oif(3)]), Some((0, 3)));
        assert_eq!(route(8, MAIN_TABLE, &[RouteAttribute::Oif(3)]), None);
        assert_eq!(route(0, 100, &[RouteAttribute::Oif(3)]), None);
        assert_eq!(route(0, MAIN_TABLE, &[metric]), None);
    }

    #[test]
    fn the_own_address_of_a_link_to_one_host() {
        let mut message = AddressMessage::default();
        message.header.prefix_len = 32;
        message.header.index = 4;
        let peer = AddressAttribute::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
        let own = AddressAttribute::Local(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        message.attributes = vec![peer, own];
        let (index, found) = address(RouteNetlinkMessage::NewAddress(message)).unwrap();
        assert_eq!((index, found), (4, "10.0.0.1/32".parse().unwrap()));
    }
}
