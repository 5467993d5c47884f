//! The kernel's tables as flannel's.

use std::collections::{BTreeMap, btree_map::Entry};

use flannel_core::{Route, RouteLink, Tables};
use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage, route::RouteProtocol};

use crate::{
    entries::{neighbors_request, read_forwarding, read_neighbor, read_route, routes_request},
    interfaces::metric,
    network::{Links, Network},
};

/// A table cannot be observed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the {what} of device {index}")]
pub struct ObserveError {
    what: &'static str,
    index: u32,
    #[source]
    source: RequestError,
}

impl Network {
    /// The entries that flanneld has to compare with its leases: permanent neighbors, forwarding entries, peers and
    /// routes of its own device, and those routes through the external interface for which `owned` returns true. Routes that the
    /// kernel made, or on the external interface DHCP or router advertisements, are nobody's leases.
    pub async fn observe(
        &self,
        links: Links,
        owned: impl Fn(&Ipv4Net, &Route) -> bool,
    ) -> Result<Tables, ObserveError> {
        let mut tables = Tables::default();
        let mut routes = Vec::new();
        if let Some(index) = links.overlay {
            let failed = |what| move |source| ObserveError { what, index, source };
            tables.peers = self.peers(index).await.map_err(failed("peers"))?.into_iter().collect();
            let neighbors = neighbors_request(AddressFamily::Inet, index);
            let neighbors = self.route.dump(neighbors, |message| read_neighbor(message, index)).await;
            tables.neighbors = neighbors.map_err(failed("neighbors"))?.into_iter().collect();
            let forwarding = neighbors_request(AddressFamily::Bridge, index);
            let forwarding = self.route.dump(forwarding, |message| read_forwarding(message, index)).await;
            tables.forwarding = forwarding.map_err(failed("forwarding entries"))?.into_iter().collect();
            routes = self.routes(index, RouteLink::Overlay).await.map_err(failed("IPv4 routes"))?;
        }
        let index = links.external;
        let external = self.routes(index, RouteLink::External).await;
        let external = external.map_err(|source| ObserveError { what: "IPv4 routes", index, source })?;
        routes.extend(external.into_iter().filter(|(_, subnet, route)| owned(subnet, route)));
        tables.routes = lowest_metrics(routes);
        Ok(tables)
    }

    async fn routes(&self, index: u32, link: RouteLink) -> Result<Vec<(u32, Ipv4Net, Route)>, RequestError> {
        let read = |message| {
            let RouteNetlinkMessage::NewRoute(message) = message else { return None };
            let automatic = match message.header.protocol {
                RouteProtocol::Kernel => true,
                RouteProtocol::Ra | RouteProtocol::Dhcp => link == RouteLink::External,
                _ => false,
            };
            if automatic {
                return None;
            }
            let (subnet, route) = read_route(&message, index, link)?;
            Some((metric(&message), subnet, route))
        };
        self.route.dump(routes_request(Some(index)), read).await
    }
}

/// Of several routes to a subnet, packets take the one with the lowest metric. The others become visible when it is
/// removed.
fn lowest_metrics(routes: Vec<(u32, Ipv4Net, Route)>) -> BTreeMap<Ipv4Net, Route> {
    let mut lowest: BTreeMap<Ipv4Net, (u32, Route)> = BTreeMap::new();
    for (metric, subnet, route) in routes {
        match lowest.entry(subnet) {
            Entry::Vacant(entry) => drop(entry.insert((metric, route))),
            Entry::Occupied(mut entry) if metric < entry.get().0 => drop(entry.insert((metric, route))),
            Entry::Occupied(_) => (),
        }
    }
    lowest.into_iter().map(|(subnet, (_, route))| (subnet, route)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_metric_counts() {
        let subnet = "10.1.0.0/24".parse().unwrap();
        let route = |last| Route { gateway: Some([10, 0, 0, last].into()), link: RouteLink::External };
        for order in [[(5, 1), (0, 2), (9, 3)], [(0, 2), (5, 1), (9, 3)], [(9, 3), (5, 1), (0, 2)]] {
            let routes = order.map(|(metric, last)| (metric, subnet, route(last)));
            assert_eq!(lowest_metrics(routes.to_vec()), BTreeMap::from([(subnet, route(2))]));
        }
    }
}
