//! The IPv4 address of flannel's device.

use std::net::IpAddr;

use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
};
use nix::errno::Errno;

use crate::network::Network;

/// What had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOutcome {
    /// The device had no address.
    Added,
    /// The device had exactly this address.
    Kept,
    /// The device had another address, which was removed.
    Replaced(Ipv4Net),
}

/// The device cannot have exactly this address.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AddressError {
    #[error("cannot list the addresses of device {index}")]
    List { index: u32, source: RequestError },
    #[error(
        "device {index} has {} IPv4 addresses ({}); it must have only {desired}: delete the others",
        found.len(), found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Several { index: u32, desired: Ipv4Net, found: Vec<Ipv4Net> },
    #[error("cannot add address {address} to device {index}")]
    Add { index: u32, address: Ipv4Net, source: RequestError },
    #[error("cannot remove address {address} from device {index}")]
    Remove { index: u32, address: Ipv4Net, source: RequestError },
}

impl Network {
    /// Makes `address` the only IPv4 address of the device. One other address is replaced; several are an error.
    pub async fn ensure_address(&self, index: u32, address: Ipv4Net) -> Result<AddressOutcome, AddressError> {
        let found = self.addresses(Some(index)).await;
        let found = found.map_err(|source| AddressError::List { index, source })?;
        let found: Vec<Ipv4Net> = found.into_iter().map(|(_, found)| found).collect();
        let old = match found.as_slice() {
            [] => None,
            [only] if *only == address => return Ok(AddressOutcome::Kept),
            [other] => Some(*other),
            _ => return Err(AddressError::Several { index, desired: address, found }),
        };
        // Added first: with its last address, a device loses its routes.
        let request = RouteNetlinkMessage::NewAddress(message(index, address));
        match self.route.acknowledge(request, NLM_F_CREATE | NLM_F_EXCL).await {
            Err(error) if error.is(Errno::EEXIST) => (),
            result => result.map_err(|source| AddressError::Add { index, address, source })?,
        }
        let Some(old) = old else { return Ok(AddressOutcome::Added) };
        match self.route.acknowledge(RouteNetlinkMessage::DelAddress(message(index, old)), 0).await {
            Err(error) if error.is(Errno::EADDRNOTAVAIL) => (),
            result => result.map_err(|source| AddressError::Remove { index, address: old, source })?,
        }
        Ok(AddressOutcome::Replaced(old))
    }
}

fn message(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    let ip = IpAddr::V4(address.addr());
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}
