//! The handle through which all requests pass.

use std::{io, sync::Arc};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use tokio::sync::OnceCell;

use crate::wireguard::Wireguard;
use netlink::Requests;

/// The devices, addresses, neighbors and routes of one network namespace, over one netlink socket. Clones share it.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) route: Requests<RouteNetlinkMessage>,
    /// Opened by the first request that concerns WireGuard.
    pub(crate) wireguard: Arc<OnceCell<Wireguard>>,
}

/// The socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a netlink socket for routes")]
pub struct OpenError(#[source] io::Error);

impl Network {
    /// Opens the socket in the network namespace of the calling thread. A task of the tokio runtime in which the
    /// function is called reads it until the last clone is dropped.
    pub fn open() -> Result<Network, OpenError> {
        let route = Requests::open(NETLINK_ROUTE).map_err(OpenError)?;
        Ok(Network { route, wireguard: Arc::default() })
    }
}

/// Which devices the entries of a table belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// Index of flanneld's own device; none with backend host-gw.
    pub overlay: Option<u32>,
    /// Index of the external interface.
    pub external: u32,
}
