//! Steps applied to the kernel's tables.

use std::{collections::BTreeSet, net::Ipv4Addr};

use flannel_core::{Change, MacAddress, Step};
use futures_util::{StreamExt, stream};
use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use crate::{
    entries::{forwarding, neighbor, neighbors_request, read_neighbor, route, route_pattern},
    limits::REQUESTS_IN_FLIGHT,
    network::{Links, Network},
};

/// A step was not done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StepError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("an earlier step of the same subnet failed")]
    Skipped,
    #[error("there is no flannel device with this backend")]
    NoDevice,
}

/// Subnets that are incomplete since a step failed.
#[derive(Default)]
struct Incomplete {
    /// Base addresses of subnets.
    neighbors: BTreeSet<Ipv4Addr>,
    /// VTEPs.
    macs: BTreeSet<MacAddress>,
    /// Networks of peers.
    peers: BTreeSet<Ipv4Net>,
}

impl Network {
    /// Applies the steps in their order; those of the same kind concurrently. Returns the steps that were not done, and
    /// why. After a failure, later `Set` steps of the same subnet are skipped: no route leads to a host that cannot be
    /// reached. Removing what is absent is success.
    pub async fn apply(&self, links: Links, steps: &[Step]) -> Vec<(Step, StepError)> {
        let mut failed = Vec::new();
        let mut incomplete = Incomplete::default();
        for group in
            steps.chunk_by(|a, b| std::mem::discriminant(&a.change) == std::mem::discriminant(&b.change))
        {
            // Without a closure over steps, in which the compiler cannot see that the future is `Send`.
            let mut attempts = Vec::new();
            for step in group {
                attempts.push(self.attempt(links, step, incomplete.concerns(&step.change)));
            }
            let results: Vec<_> = stream::iter(attempts).buffered(REQUESTS_IN_FLIGHT).collect().await;
            for (step, result) in results {
                if let Err(error) = result {
                    self.mark(&mut incomplete, links, &step.change).await;
                    failed.push((step.clone(), error));
                }
            }
        }
        failed
    }

    async fn attempt<'a>(
        &self,
        links: Links,
        step: &'a Step,
        skipped: bool,
    ) -> (&'a Step, Result<(), StepError>) {
        let result = if skipped { Err(StepError::Skipped) } else { self.change(links, &step.change).await };
        (step, result)
    }

    async fn mark(&self, incomplete: &mut Incomplete, links: Links, change: &Change) {
        match change {
            Change::SetNeighbor { address, .. } => drop(incomplete.neighbors.insert(*address)),
            Change::SetForwarding { mac, .. } => {
                incomplete.macs.insert(*mac);
                // Which subnets the VTEP has, the steps need not say: their neighbors may have been complete.
                let Some(device) = links.overlay else { return };
                let request = neighbors_request(AddressFamily::Inet, device);
                let neighbors = self.route.dump(request, |message| read_neighbor(message, device)).await;
                let of_vtep = neighbors.unwrap_or_default().into_iter().filter(|(_, of)| of == mac);
                incomplete.neighbors.extend(of_vtep.map(|(address, _)| address));
            }
            Change::SetPeer { peer, .. } => drop(incomplete.peers.insert(peer.allowed)),
            _ => (),
        }
    }

    async fn change(&self, links: Links, change: &Change) -> Result<(), StepError> {
        let device = || links.overlay.ok_or(StepError::NoDevice);
        let absent: &[Errno] = match change {
            Change::RemoveNeighbor { .. } | Change::RemoveForwarding { .. } => {
                &[Errno::ENOENT, Errno::ENODEV]
            }
            Change::RemoveRoute { .. } => &[Errno::ESRCH, Errno::ENODEV],
            _ => &[],
        };
        let replace = NLM_F_CREATE | NLM_F_REPLACE;
        let (message, flags) = match change {
            Change::SetNeighbor { address, mac } => {
                (RouteNetlinkMessage::NewNeighbour(neighbor(device()?, *address, *mac)), replace)
            }
            Change::SetForwarding { mac, host } => {
                (RouteNetlinkMessage::NewNeighbour(forwarding(device()?, *mac, *host)), replace)
            }
            Change::SetRoute { subnet, route: to } => {
                let message = route(links, *subnet, to).ok_or(StepError::NoDevice)?;
                (RouteNetlinkMessage::NewRoute(message), replace)
            }
            Change::RemoveRoute { subnet, route: to } => {
                let message = route_pattern(links, *subnet, to).ok_or(StepError::NoDevice)?;
                (RouteNetlinkMessage::DelRoute(message), 0)
            }
            Change::RemoveForwarding { mac, host } => {
                (RouteNetlinkMessage::DelNeighbour(forwarding(device()?, *mac, *host)), 0)
            }
            Change::RemoveNeighbor { address, mac } => {
                (RouteNetlinkMessage::DelNeighbour(neighbor(device()?, *address, *mac)), 0)
            }
            Change::SetPeer { key, peer } => return Ok(self.set_peer(device()?, key, peer).await?),
            Change::RemovePeer { key } => {
                return match self.remove_peer(device()?, key).await {
                    Err(error) if error.is(Errno::ENODEV) => Ok(()),
                    result => Ok(result?),
                };
            }
        };
        match self.route.acknowledge(message, flags).await {
            Err(error) if absent.iter().any(|absent| error.is(*absent)) => Ok(()),
            result => Ok(result?),
        }
    }
}

impl Incomplete {
    /// Whether the change would complete such a subnet in part.
    fn concerns(&self, change: &Change) -> bool {
        match change {
            Change::SetNeighbor { mac, .. } => self.macs.contains(mac),
            Change::SetRoute { subnet, route } => {
                let unresolved = |gateway| self.neighbors.contains(&gateway);
                route.gateway.is_some_and(unresolved) || self.peers.contains(subnet)
            }
            _ => false,
        }
    }
}
