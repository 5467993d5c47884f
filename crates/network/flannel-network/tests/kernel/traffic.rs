//! Packets between containers' networks on two nodes.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

use flannel_core::{Route, RouteLink, Tables};
use flannel_network::{Links, Network};
use ipnet::Ipv4Net;

use crate::lab::{Lab, Namespace, address, device, reach, test};

struct Node<'a> {
    namespace: &'a Namespace,
    network: Network,
    links: Links,
    number: u8,
}

/// The lease of a node.
fn subnet(node: u8) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(10, 1, node, 0), 24).unwrap()
}

impl<'a> Node<'a> {
    async fn start(namespace: &'a Namespace, number: u8) -> Self {
        let network = namespace.network();
        let external = namespace.index("eth0");
        let index = network.ensure_vxlan(&device(number, external)).await.unwrap().index;
        let address = Ipv4Net::new(subnet(number).network(), 32).unwrap();
        network.ensure_address(index, address).await.unwrap();
        Self { namespace, network, links: Links { overlay: Some(index), external }, number }
    }

    /// The tables with the lease of `other`.
    fn tables(&self, other: u8, direct: bool) -> Tables {
        let base = subnet(other).network();
        if direct {
            let route = Route { gateway: Some(address(other)), link: RouteLink::External };
            return Tables { routes: BTreeMap::from([(subnet(other), route)]), ..Tables::default() };
        }
        let mac = device(other, 0).mac;
        let route = Route { gateway: Some(base), link: RouteLink::Overlay };
        Tables {
            neighbors: BTreeMap::from([(base, mac)]),
            forwarding: BTreeMap::from([(mac, address(other))]),
            routes: BTreeMap::from([(subnet(other), route)]),
            ..Tables::default()
        }
    }

    fn socket(&self) -> UdpSocket {
        let address = SocketAddrV4::new(subnet(self.number).network(), 0);
        self.namespace.run(|| UdpSocket::bind(address).unwrap())
    }
}

/// Whether a packet from the lease of `from` arrives at that of `to`, with its source.
fn arrives(from: &Node<'_>, to: &Node<'_>, length: usize) -> bool {
    arrives_within(40, from, to, length)
}

fn arrives_within(attempts: u8, from: &Node<'_>, to: &Node<'_>, length: usize) -> bool {
    let (sender, receiver) = (from.socket(), to.socket());
    receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = vec![0; 2 * length];
    // The first packet may find no neighbor of the underlay yet.
    for attempt in 0..attempts {
        if sender.send_to(&vec![attempt; length], receiver.local_addr().unwrap()).is_err() {
            continue;
        }
        if let Ok((received, source)) = receiver.recv_from(&mut buffer) {
            assert_eq!((received, source), (length, sender.local_addr().unwrap()));
            return true;
        }
    }
    false
}

async fn nodes(lab: &Lab) -> (Node<'_>, Node<'_>) {
    (Node::start(&lab.one, 1).await, Node::start(&lab.two, 2).await)
}

#[test]
fn packets_between_leases() {
    test("packets_between_leases", async |lab| {
        let (one, two) = nodes(lab).await;
        for direct in [false, true, false] {
            reach(&one.network, one.links, &one.tables(2, direct)).await;
            reach(&two.network, two.links, &two.tables(1, direct)).await;
            assert!(arrives(&one, &two, 100) && arrives(&two, &one, 100), "direct: {direct}");
            // Fragments, since it is longer than the MTU.
            assert!(arrives(&one, &two, 4_000), "direct: {direct}");
        }
        // A restarted flanneld: nothing changes, and packets pass.
        let again = lab.one.network();
        let ensured = again.ensure_vxlan(&device(1, one.links.external)).await.unwrap();
        assert_eq!(Some(ensured.index), one.links.overlay);
        reach(&again, one.links, &one.tables(2, false)).await;
        assert!(arrives(&one, &two, 100));
        reach(&one.network, one.links, &Tables::default()).await;
        assert!(!arrives_within(5, &one, &two, 100));
    });
}
