//! The TUN device of backend udp.

use ipnet::Ipv4Net;
use netlink_packet_route::link::LinkAttribute;
use tokio_tun::{Tun, TunBuilder};

use crate::{address::AddressError, network::Network, request::RequestError};

/// A TUN device that exists until it is dropped. Each read is one IP packet, and each write.
pub struct TunDevice {
    /// Its index in the kernel.
    pub index: u32,
    /// Its packets: `AsyncRead` and `AsyncWrite`, and `recv` and `send` for concurrent use.
    pub packets: Tun,
}

/// A TUN device cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TunError {
    #[error("cannot open TUN device {name} (capability CAP_NET_ADMIN and /dev/net/tun are required)")]
    Open { name: String, source: tokio_tun::Error },
    #[error("cannot observe TUN device {name}")]
    Observe { name: String, source: RequestError },
    #[error("TUN device {name} was deleted while it was opened")]
    Deleted { name: String },
    #[error("cannot set TUN device {name} up with MTU {mtu}")]
    SetUp { name: String, mtu: u32, source: RequestError },
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Network {
    /// Opens a TUN device in the network namespace of the calling thread, which must be that of `Network::open`, gives
    /// it its address and sets it up. The kernel deletes it with the last handle.
    pub async fn open_tun(&self, name: &str, address: Ipv4Net, mtu: u32) -> Result<TunDevice, TunError> {
        let name = || name.to_string();
        let opened = TunBuilder::new().name(&name()).build();
        let mut opened = opened.map_err(|source| TunError::Open { name: name(), source })?;
        let packets = opened.pop().ok_or_else(|| TunError::Deleted { name: name() })?;
        let link = self.link(&name()).await.map_err(|source| TunError::Observe { name: name(), source })?;
        let index = link.ok_or_else(|| TunError::Deleted { name: name() })?.header.index;
        self.ensure_address(index, address).await?;
        let set_up = async {
            self.change_link(index, vec![LinkAttribute::Mtu(mtu)]).await?;
            self.set_up(index).await
        };
        set_up.await.map_err(|source| TunError::SetUp { name: name(), mtu, source })?;
        Ok(TunDevice { index, packets })
    }
}
