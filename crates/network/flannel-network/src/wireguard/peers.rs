//! Peers as attributes, in both directions.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
};

use flannel_core::{Peer, WireguardKey, WireguardSecret};
use ipnet::Ipv4Net;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardPeer,
    WireguardPeerAttribute, WireguardPeerFlags,
};

/// The kernel's preshared key of a peer without one.
const NO_SECRET: [u8; 32] = [0; 32];

/// Any interval: the kernel sends a packet when one is set.
const GREETING: u16 = 1;

/// The peer, which replaces one with the same key, and a packet to it: a new session. The other host may have one that
/// this host forgot with a device or a lease. It would send into it for 15 s, until it missed the answers.
pub fn messages(key: &WireguardKey, peer: &Peer) -> Vec<WireguardPeer> {
    let interval = |seconds| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
            WireguardPeerAttribute::PersistentKeepalive(seconds),
        ])
    };
    vec![without_interval(key, peer), interval(GREETING), interval(peer.keepalive)]
}

fn without_interval(key: &WireguardKey, peer: &Peer) -> WireguardPeer {
    let allowed = WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(WireguardAddressFamily::Ipv4),
        WireguardAllowedIpAttr::IpAddr(IpAddr::V4(peer.allowed.network())),
        WireguardAllowedIpAttr::Cidr(peer.allowed.prefix_len()),
    ]);
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(key.0),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::Endpoint(SocketAddr::V4(peer.endpoint)),
        WireguardPeerAttribute::PersistentKeepalive(0),
        WireguardPeerAttribute::PresharedKey(peer.preshared.map_or(NO_SECRET, |key| key.0)),
        WireguardPeerAttribute::AllowedIps(vec![allowed]),
    ])
}

/// The removal of a peer, which may be absent.
pub fn removal(key: &WireguardKey) -> WireguardPeer {
    let flags = WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe);
    WireguardPeer(vec![WireguardPeerAttribute::PublicKey(key.0), flags])
}

/// What no lease has: a peer in another form than flannel's has it, so that it is replaced or removed.
const OTHER: Peer = Peer {
    endpoint: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    allowed: Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0),
    keepalive: 0,
    preshared: None,
};

#[derive(Default)]
struct Parts {
    endpoint: Option<SocketAddr>,
    keepalive: u16,
    preshared: Option<WireguardSecret>,
    allowed: Vec<Option<Ipv4Net>>,
}

/// The peers in the attributes of a device. Those with many allowed addresses come in parts.
pub fn read(attributes: Vec<WireguardAttribute>) -> Vec<(WireguardKey, Peer)> {
    let mut peers: BTreeMap<WireguardKey, Parts> = BTreeMap::new();
    let messages = attributes.into_iter().filter_map(|attribute| match attribute {
        WireguardAttribute::Peers(peers) => Some(peers),
        _ => None,
    });
    for WireguardPeer(attributes) in messages.flatten() {
        let key = attributes.iter().find_map(|attribute| match attribute {
            WireguardPeerAttribute::PublicKey(key) => Some(WireguardKey(*key)),
            _ => None,
        });
        let Some(key) = key else { continue };
        let parts = peers.entry(key).or_default();
        for attribute in attributes {
            match attribute {
                WireguardPeerAttribute::Endpoint(endpoint) => parts.endpoint = Some(endpoint),
                WireguardPeerAttribute::PersistentKeepalive(seconds) => parts.keepalive = seconds,
                WireguardPeerAttribute::PresharedKey(key) if key != NO_SECRET => {
                    parts.preshared = Some(WireguardSecret(key));
                }
                WireguardPeerAttribute::AllowedIps(allowed) => {
                    parts.allowed.extend(allowed.iter().map(network))
                }
                _ => (),
            }
        }
    }
    peers.into_iter().map(|(key, parts)| (key, parts.peer().unwrap_or(OTHER))).collect()
}

fn network(allowed: &WireguardAllowedIp) -> Option<Ipv4Net> {
    let (mut address, mut prefix) = (None, None);
    for attribute in &allowed.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(IpAddr::V4(is)) => address = Some(*is),
            WireguardAllowedIpAttr::Cidr(is) => prefix = Some(*is),
            _ => (),
        }
    }
    Ipv4Net::new(address?, prefix?).ok()
}

impl Parts {
    fn peer(self) -> Option<Peer> {
        let Some(SocketAddr::V4(endpoint)) = self.endpoint else { return None };
        let [Some(allowed)] = self.allowed[..] else { return None };
        Some(Peer { endpoint, allowed, keepalive: self.keepalive, preshared: self.preshared })
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, NlaBuffer, Parseable};

    use super::*;

    fn peer() -> Peer {
        let endpoint = "192.168.0.2:51820".parse().unwrap();
        let preshared = Some(WireguardSecret([5; 32]));
        Peer { endpoint, allowed: "10.1.45.0/24".parse().unwrap(), keepalive: 25, preshared }
    }

    /// The attribute after it was bytes.
    fn transferred(peers: Vec<WireguardPeer>) -> WireguardAttribute {
        let attribute = WireguardAttribute::Peers(peers);
        let mut bytes = vec![0; attribute.buffer_len()];
        attribute.emit(&mut bytes);
        WireguardAttribute::parse(&NlaBuffer::new_checked(&bytes[..]).unwrap()).unwrap()
    }

    #[test]
    fn what_is_sent_is_read() {
        let keys = [WireguardKey([1; 32]), WireguardKey([2; 32])];
        let sent = keys.iter().flat_map(|key| messages(key, &peer())).collect();
        assert_eq!(read(vec![transferred(sent)]), keys.map(|key| (key, peer())));
        // Without a preshared key, the peer's former one is removed.
        let peer = Peer { preshared: None, ..peer() };
        let sent = messages(&keys[0], &peer);
        assert!(sent[0].0.contains(&WireguardPeerAttribute::PresharedKey(NO_SECRET)));
        assert_eq!(read(vec![transferred(sent)]), [(keys[0], peer)]);
    }

    #[test]
    fn an_interval_begins_and_remains() {
        for keepalive in [0, 25] {
            let sent = messages(&WireguardKey([1; 32]), &Peer { keepalive, ..peer() });
            let intervals: Vec<u16> = sent
                .iter()
                .flat_map(|peer| &peer.0)
                .filter_map(|attribute| match attribute {
                    WireguardPeerAttribute::PersistentKeepalive(seconds) => Some(*seconds),
                    _ => None,
                })
                .collect();
            assert_eq!(intervals, [0, GREETING, keepalive]);
        }
    }

    #[test]
    fn other_peers() {
        let key = WireguardKey([1; 32]);
        let check = |parts: Vec<WireguardPeer>| {
            assert_eq!(read(parts.into_iter().map(|part| transferred(vec![part])).collect()), [(key, OTHER)]);
        };
        check(vec![removal(&key)]);
        // A second network, in a part of its own.
        let mut second = peer();
        second.allowed = "10.1.46.0/24".parse().unwrap();
        check(vec![without_interval(&key, &peer()), without_interval(&key, &second)]);
        let mut ipv6 = without_interval(&key, &peer());
        ipv6.0.push(WireguardPeerAttribute::Endpoint("[::1]:51820".parse().unwrap()));
        check(vec![ipv6]);
    }
}
