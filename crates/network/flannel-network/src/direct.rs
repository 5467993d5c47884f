//! Which hosts are on the same link, for `DirectRouting`.

use std::{collections::BTreeSet, net::Ipv4Addr};

use futures_util::{StreamExt, TryStreamExt, stream};
use netlink::RequestError;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use nix::errno::Errno;

use crate::{limits::REQUESTS_IN_FLIGHT, network::Network};

/// A route cannot be looked up.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up the route to {address}")]
pub struct DirectError {
    address: Ipv4Addr,
    #[source]
    source: RequestError,
}

impl Network {
    /// Those of the addresses that the host reaches through the external interface without a gateway.
    pub async fn routes_directly(
        &self,
        external: u32,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Result<BTreeSet<Ipv4Addr>, DirectError> {
        let lookups = stream::iter(addresses).map(|address| async move {
            let result = self.is_direct(external, address).await;
            result.map(|direct| direct.then_some(address)).map_err(|source| DirectError { address, source })
        });
        let direct: Vec<_> = lookups.buffer_unordered(REQUESTS_IN_FLIGHT).try_collect().await?;
        Ok(direct.into_iter().flatten().collect())
    }

    async fn is_direct(&self, external: u32, address: Ipv4Addr) -> Result<bool, RequestError> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        request.header.destination_prefix_length = 32;
        request.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(address))];
        match self.route.answer(RouteNetlinkMessage::GetRoute(request)).await {
            Ok(RouteNetlinkMessage::NewRoute(route)) => Ok(leads_directly(&route, external)),
            Ok(_) => Err(RequestError::Unexpected),
            Err(error) if [Errno::ENETUNREACH, Errno::EHOSTUNREACH].into_iter().any(|no| error.is(no)) => {
                Ok(false)
            }
            // The errors of routes of types prohibit and blackhole.
            Err(error) if error.is(Errno::EACCES) || error.is(Errno::EINVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn leads_directly(route: &RouteMessage, external: u32) -> bool {
    let gateway = |attribute: &RouteAttribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_)
        )
    };
    route.header.kind == RouteType::Unicast
        && route.attributes.contains(&RouteAttribute::Oif(external))
        && !route.attributes.iter().any(gateway)
}
