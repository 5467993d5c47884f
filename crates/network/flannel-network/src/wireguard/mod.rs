//! The WireGuard device and its peers.

mod connection;
mod peers;

use flannel_core::{Peer, WireguardKey, WireguardSecret};
use netlink::RequestError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use netlink_packet_wireguard::WireguardAttribute;
use nix::errno::Errno;

pub use connection::Wireguard;

use crate::{
    device::{Outcome, kind},
    limits::DEVICE_ATTEMPTS,
    network::Network,
};

/// A WireGuard device as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireguardDevice {
    /// Its name.
    pub name: String,
    /// Its private key, which no message and no error contains.
    pub private_key: WireguardSecret,
    /// UDP port at which it receives.
    pub listen_port: u16,
    /// MTU in bytes: the external interface's less the headers.
    pub mtu: u32,
}

/// The device is as required, and up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsuredWireguard {
    /// Its index in the kernel.
    pub index: u32,
    /// What had to be done.
    pub outcome: Outcome,
    /// The public key of its private key, which the lease publishes.
    pub public_key: WireguardKey,
}

/// A WireGuard device cannot be made as required.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EnsureWireguardError {
    #[error("cannot observe device {name}")]
    Observe { name: String, source: RequestError },
    #[error(
        "cannot create device {name}: the kernel has no WireGuard: load or install module `wireguard`, or use another \
         backend"
    )]
    NotSupported { name: String, source: RequestError },
    #[error("cannot create device {name}")]
    Create { name: String, source: RequestError },
    #[error("cannot delete device {name}, which is of kind {kind}")]
    Delete { name: String, kind: String, source: RequestError },
    #[error("cannot set key and port {port} of device {name}")]
    Configure { name: String, port: u16, source: RequestError },
    #[error("cannot set the MTU of device {name} to {mtu}")]
    Mtu { name: String, mtu: u32, source: RequestError },
    #[error("cannot set device {name} up; another program may use UDP port {port}")]
    SetUp { name: String, port: u16, source: RequestError },
    #[error("another program changes device {name}: it is not as required after {DEVICE_ATTEMPTS} attempts")]
    Unstable { name: String },
}

impl Network {
    /// Makes the device exist with this key, port and MTU, and sets it up. Its peers remain.
    pub async fn ensure_wireguard(
        &self,
        desired: &WireguardDevice,
    ) -> Result<EnsuredWireguard, EnsureWireguardError> {
        let name = || desired.name.clone();
        let observe = |source| EnsureWireguardError::Observe { name: name(), source };
        let mut outcome = None;
        for _ in 0..DEVICE_ATTEMPTS {
            let Some(link) = self.route.link(&desired.name).await.map_err(observe)? else {
                self.create_wireguard(desired).await?;
                outcome.get_or_insert(Outcome::Created);
                continue;
            };
            let index = link.header.index;
            let kind = kind(&link);
            if kind != Some(InfoKind::Wireguard) {
                let kind = kind.map_or_else(|| "without a name".into(), |kind| kind.to_string());
                let reason = format!("it is a device of kind {kind}, required is wireguard");
                let result = self.route.delete_link(index).await;
                result.map_err(|source| EnsureWireguardError::Delete { name: name(), kind, source })?;
                outcome.get_or_insert(Outcome::Recreated(reason));
                continue;
            }
            let wireguard = self.wireguard().await.map_err(observe)?;
            let attributes = wireguard.device(index).await.map_err(observe)?;
            let mut complete = true;
            if !is_configured(&attributes, desired) {
                let configuration = vec![
                    WireguardAttribute::PrivateKey(desired.private_key.0),
                    WireguardAttribute::ListenPort(desired.listen_port),
                ];
                let result = wireguard.set(index, configuration).await;
                let port = desired.listen_port;
                result.map_err(|source| EnsureWireguardError::Configure { name: name(), port, source })?;
                complete = false;
            }
            if !link.attributes.contains(&LinkAttribute::Mtu(desired.mtu)) {
                let mtu = desired.mtu;
                let result = self.route.change_link(index, vec![LinkAttribute::Mtu(mtu)]).await;
                result.map_err(|source| EnsureWireguardError::Mtu { name: name(), mtu, source })?;
                complete = false;
            }
            if !complete {
                outcome.get_or_insert(Outcome::Changed);
            }
            if !link.header.flags.contains(LinkFlags::Up) {
                let port = desired.listen_port;
                let result = self.route.set_up(index).await;
                result.map_err(|source| EnsureWireguardError::SetUp { name: name(), port, source })?;
                complete = false;
            }
            let public_key = attributes.iter().find_map(public_key);
            if let Some(public_key) = public_key.filter(|_| complete) {
                return Ok(EnsuredWireguard { index, outcome: outcome.unwrap_or(Outcome::Kept), public_key });
            }
        }
        Err(EnsureWireguardError::Unstable { name: name() })
    }

    async fn create_wireguard(&self, desired: &WireguardDevice) -> Result<(), EnsureWireguardError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(desired.name.clone()),
            LinkAttribute::Mtu(desired.mtu),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
        ];
        let name = desired.name.clone();
        match self.route.acknowledge(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await {
            Err(source) if source.is(Errno::EOPNOTSUPP) => {
                Err(EnsureWireguardError::NotSupported { name, source })
            }
            // Created meanwhile: the next observation shows as what.
            Err(source) if source.is(Errno::EEXIST) => Ok(()),
            result => result.map_err(|source| EnsureWireguardError::Create { name, source }),
        }
    }

    /// Index and public key of the WireGuard device with this name; `None` if there is none, or it has no key.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn existing_wireguard(&self, name: &str) -> Result<Option<(u32, WireguardKey)>, RequestError> {
        let link = self.route.link(name).await?.filter(|link| kind(link) == Some(InfoKind::Wireguard));
        let Some(link) = link else { return Ok(None) };
        let attributes = self.wireguard().await?.device(link.header.index).await?;
        Ok(attributes.iter().find_map(public_key).map(|key| (link.header.index, key)))
    }

    /// The peers of a device; none if it is no WireGuard device.
    pub(crate) async fn peers(&self, index: u32) -> Result<Vec<(WireguardKey, Peer)>, RequestError> {
        let link = self.route.link_at(index).await?;
        if kind(&link) != Some(InfoKind::Wireguard) {
            return Ok(Vec::new());
        }
        Ok(peers::read(self.wireguard().await?.device(index).await?))
    }

    pub(crate) async fn set_peer(
        &self,
        index: u32,
        key: &WireguardKey,
        peer: &Peer,
    ) -> Result<(), RequestError> {
        let attributes = vec![WireguardAttribute::Peers(peers::messages(key, peer))];
        self.wireguard().await?.set(index, attributes).await
    }

    pub(crate) async fn remove_peer(&self, index: u32, key: &WireguardKey) -> Result<(), RequestError> {
        let attributes = vec![WireguardAttribute::Peers(vec![peers::removal(key)])];
        self.wireguard().await?.set(index, attributes).await
    }

    async fn wireguard(&self) -> Result<&Wireguard, RequestError> {
        self.wireguard.get_or_try_init(Wireguard::open).await
    }
}

fn is_configured(attributes: &[WireguardAttribute], desired: &WireguardDevice) -> bool {
    attributes.contains(&WireguardAttribute::PrivateKey(WireguardSecret::private(desired.private_key.0).0))
        && attributes.contains(&WireguardAttribute::ListenPort(desired.listen_port))
}

fn public_key(attribute: &WireguardAttribute) -> Option<WireguardKey> {
    match attribute {
        WireguardAttribute::PublicKey(key) => Some(WireguardKey(*key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_key_is_not_shown() {
        let device = WireguardDevice {
            name: "flannel.wg".into(),
            private_key: WireguardSecret([0xab; 32]),
            listen_port: 51820,
            mtu: 1420,
        };
        let shown = format!("{device:?}");
        assert_eq!(
            shown,
            "WireguardDevice { name: \"flannel.wg\", private_key: (hidden), listen_port: 51820, mtu: 1420 }"
        );
    }

    #[test]
    fn the_configuration() {
        let desired = WireguardDevice {
            name: String::new(),
            private_key: WireguardSecret([7; 32]),
            listen_port: 51820,
            mtu: 1420,
        };
        let mut key = [7; 32];
        (key[0], key[31]) = (0, 71);
        let check = |key, port, expected| {
            let attributes = [WireguardAttribute::PrivateKey(key), WireguardAttribute::ListenPort(port)];
            assert_eq!(is_configured(&attributes, &desired), expected);
        };
        check(key, 51820, true);
        check(key, 51821, false);
        key[5] = 8;
        check(key, 51820, false);
    }
}
