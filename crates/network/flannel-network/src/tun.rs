//! The TUN device of backend udp.

use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use nix::errno::Errno;
use tokio_tun::{Tun, TunBuilder};

use crate::{address::AddressError, device::Outcome, network::Network};

/// A TUN device that exists until it is dropped. Each read is one IP packet, and each write.
pub struct TunDevice {
    /// Its index in the kernel.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its packets: `AsyncRead` and `AsyncWrite`, and `recv` and `send` for concurrent use.
    pub packets: Tun,
}

/// A TUN device cannot be opened or configured.
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
    /// Opens a TUN device, which is down, in the network namespace of the calling thread, which must be that of
    /// `Network::open`. The kernel deletes it with the last handle.
    ///
    /// # Errors
    /// The kernel refuses: a right is missing, or another process has a device with this name.
    pub async fn open_tun(&self, name: &str) -> Result<TunDevice, TunError> {
        let owned = || name.to_owned();
        let opened = TunBuilder::new().name(name).build();
        let mut opened = opened.map_err(|source| TunError::Open { name: owned(), source })?;
        let packets = opened.pop().ok_or_else(|| TunError::Deleted { name: owned() })?;
        let link =
            self.route.link(name).await.map_err(|source| TunError::Observe { name: owned(), source })?;
        let index = link.ok_or_else(|| TunError::Deleted { name: owned() })?.header.index;
        Ok(TunDevice { index, name: owned(), packets })
    }

    /// Gives an open TUN device its address and MTU, and sets it up. `None`: it was deleted, and has to be opened again.
    ///
    /// # Errors
    /// The kernel refuses, or the device has several addresses.
    pub async fn ensure_tun(
        &self,
        device: &TunDevice,
        address: Ipv4Net,
        mtu: u32,
    ) -> Result<Option<Outcome>, TunError> {
        let name = || device.name.clone();
        let link = match self.route.link_at(device.index).await {
            Ok(link) => link,
            Err(error) if error.is(Errno::ENODEV) => return Ok(None),
            Err(source) => return Err(TunError::Observe { name: name(), source }),
        };
        self.ensure_address(device.index, address).await?;
        let is_up = link.header.flags.contains(LinkFlags::Up);
        if is_up && link.attributes.contains(&LinkAttribute::Mtu(mtu)) {
            return Ok(Some(Outcome::Kept));
        }
        let set_up = async {
            self.route.change_link(device.index, vec![LinkAttribute::Mtu(mtu)]).await?;
            self.route.set_up(device.index).await
        };
        set_up.await.map_err(|source| TunError::SetUp { name: name(), mtu, source })?;
        Ok(Some(Outcome::Changed))
    }
}
