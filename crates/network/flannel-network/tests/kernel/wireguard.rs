use std::collections::BTreeMap;

use flannel_core::{Peer, Route, RouteLink, Tables, WireguardKey, WireguardSecret};
use flannel_network::{Links, Outcome, WireguardDevice};

use crate::lab::{chain, reach, skipped, test};

fn device() -> WireguardDevice {
    let private_key = WireguardSecret([0xff; 32]);
    WireguardDevice { name: "flannel.wg".into(), private_key, listen_port: 51820, mtu: 1420 }
}

#[test]
fn a_wireguard_device() {
    test("a_wireguard_device", async |lab| {
        let network = lab.one.network();
        let (supported, _) = lab.one.try_program("ip", "link add probe type wireguard");
        if !supported {
            let error = network.ensure_wireguard(&device()).await.unwrap_err();
            let expected = "cannot create device flannel.wg: the kernel has no WireGuard: load or install";
            assert!(chain(&error).starts_with(expected), "{}", chain(&error));
            return skipped("a_wireguard_device", "the kernel has no WireGuard");
        }
        let ensured = network.ensure_wireguard(&device()).await.unwrap();
        assert_eq!((ensured.index, &ensured.outcome), (lab.one.index("flannel.wg"), &Outcome::Created));
        lab.one.ip("link set flannel.wg mtu 1300");
        assert_eq!(network.ensure_wireguard(&device()).await.unwrap().outcome, Outcome::Changed);
        let again = network.ensure_wireguard(&device()).await.unwrap();
        assert_eq!((again.outcome, again.public_key), (Outcome::Kept, ensured.public_key));
        let existing = network.existing_wireguard("flannel.wg").await.unwrap();
        assert_eq!(existing, Some((ensured.index, ensured.public_key)));
        let links = Links { overlay: Some(ensured.index), external: lab.one.index("eth0") };
        let subnet = "10.1.45.0/24".parse().unwrap();
        let mut peer = Peer {
            endpoint: "192.168.77.2:51820".parse().unwrap(),
            allowed: subnet,
            keepalive: 25,
            preshared: Some(WireguardSecret([9; 32])),
        };
        let tables = |peer: &Peer| Tables {
            peers: BTreeMap::from([(WireguardKey([3; 32]), peer.clone())]),
            routes: BTreeMap::from([(subnet, Route { gateway: None, link: RouteLink::Overlay })]),
            ..Tables::default()
        };
        reach(&network, links, &tables(&peer)).await;
        peer.endpoint.set_port(51821);
        peer.preshared = None;
        reach(&network, links, &tables(&peer)).await;
        reach(&network, links, &Tables::default()).await;
    });
}
