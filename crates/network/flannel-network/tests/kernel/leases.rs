use std::{collections::BTreeMap, net::Ipv4Addr};

use flannel_core::{Change, MacAddress, Route, RouteLink, Step, Tables, steps};
use flannel_network::{Links, Network, StepError};
use ipnet::Ipv4Net;

use crate::lab::{Lab, address, device, reach, test};

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 45]);
const BASE: Ipv4Addr = Ipv4Addr::new(10, 1, 45, 0);

fn subnet() -> Ipv4Net {
    Ipv4Net::new(BASE, 24).unwrap()
}

fn through(gateway: Ipv4Addr, link: RouteLink) -> Route {
    Route { gateway: Some(gateway), link }
}

/// One lease, encapsulated.
fn lease(host: Ipv4Addr) -> Tables {
    Tables {
        neighbors: BTreeMap::from([(BASE, MAC)]),
        forwarding: BTreeMap::from([(MAC, host)]),
        routes: BTreeMap::from([(subnet(), through(BASE, RouteLink::Overlay))]),
        ..Tables::default()
    }
}

async fn with_device(lab: &Lab) -> (Network, Links) {
    let network = lab.one.network();
    let external = lab.one.index("eth0");
    let index = network.ensure_vxlan(&device(1, external)).await.unwrap().index;
    network.ensure_address(index, "10.1.34.0/32".parse().unwrap()).await.unwrap();
    (network, Links { overlay: Some(index), external })
}

#[test]
fn a_lease_is_as_flannels() {
    test("a_lease_is_as_flannels", async |lab| {
        let (network, links) = with_device(lab).await;
        assert_eq!(network.observe(links, |_, _| true).await.unwrap(), Tables::default());
        reach(&network, links, &lease(address(2))).await;
        assert!(lab.one.ip("route").contains("10.1.45.0/24 via 10.1.45.0 dev flannel.1 onlink"));
        let neighbors = lab.one.ip("neigh show dev flannel.1");
        assert!(neighbors.contains("10.1.45.0 lladdr 02:00:00:00:00:2d PERMANENT"), "{neighbors}");
        if crate::lab::has("bridge", "-V") {
            let forwarding = lab.one.output("bridge", "fdb show dev flannel.1");
            assert!(forwarding.contains("02:00:00:00:00:2d dst 192.168.77.2 self permanent"), "{forwarding}");
        }
        // The host has another address, then its device another MAC address, then it is in the same network.
        reach(&network, links, &lease(address(3))).await;
        let mut desired = lease(address(3));
        let mac = MacAddress([2, 0, 0, 0, 0, 99]);
        desired.neighbors.insert(BASE, mac);
        desired.forwarding = BTreeMap::from([(mac, address(3))]);
        reach(&network, links, &desired).await;
        let direct = through(address(3), RouteLink::External);
        let desired = Tables { routes: BTreeMap::from([(subnet(), direct)]), ..Tables::default() };
        reach(&network, links, &desired).await;
        assert!(lab.one.ip("route").contains("10.1.45.0/24 via 192.168.77.3 dev eth0"));
        reach(&network, links, &lease(address(2))).await;
        reach(&network, links, &Tables::default()).await;
    });
}

#[test]
fn leftovers_are_observed() {
    test("leftovers_are_observed", async |lab| {
        let (network, links) = with_device(lab).await;
        // flannel until 0.7, and entries of hosts that are no longer members.
        lab.one.ip("route add 10.1.0.0/16 dev flannel.1");
        lab.one.ip("route add 10.1.7.0/24 via 10.1.7.0 dev flannel.1 onlink metric 9");
        lab.one.ip("route add 10.1.8.0/24 via 10.1.8.0 dev flannel.1 onlink proto static");
        lab.one.ip("neigh add 10.1.7.0 lladdr 02:00:00:00:00:07 dev flannel.1 nud permanent");
        lab.one.ip("neigh add 10.1.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud reachable");
        let observed = network.observe(links, |_, _| true).await.unwrap();
        let routes: Vec<String> = observed.routes.keys().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.1.0.0/16", "10.1.7.0/24", "10.1.8.0/24"]);
        assert_eq!(observed.neighbors.len(), 1);
        if crate::lab::has("bridge", "-V") {
            lab.one.output("bridge", "fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.168.77.9");
            lab.one.output("bridge", "fdb add 02:00:00:00:00:07 dev flannel.1 dst 192.168.77.9");
        }
        reach(&network, links, &lease(address(2))).await;
        let left = lab.one.ip("route show dev flannel.1");
        assert_eq!(left.trim(), "10.1.45.0/24 via 10.1.45.0 onlink");
    });
}

#[test]
fn routes_of_the_external_interface() {
    test("routes_of_the_external_interface", async |lab| {
        let network = lab.one.network();
        let links = Links { overlay: None, external: lab.one.index("eth0") };
        lab.one.ip("route add default via 192.168.77.2");
        lab.one.ip("route add 10.1.7.0/24 via 192.168.77.2 proto dhcp");
        lab.one.ip("route add 10.1.8.0/24 via 192.168.77.2 proto ra");
        lab.one.ip("route add 10.1.9.0/24 via 192.168.77.2");
        lab.one.ip("route add 172.16.0.0/16 via 192.168.77.2");
        lab.one.ip("route add blackhole 10.1.10.0/24");
        let pool: Ipv4Net = "10.1.0.0/16".parse().unwrap();
        let observed = network.observe(links, |subnet, _| pool.contains(subnet)).await.unwrap();
        let routes =
            BTreeMap::from([("10.1.9.0/24".parse().unwrap(), through(address(2), RouteLink::External))]);
        assert_eq!(observed, Tables { routes, ..Tables::default() });
        // With another gateway, it is replaced.
        let desired =
            BTreeMap::from([("10.1.9.0/24".parse().unwrap(), through(address(3), RouteLink::External))]);
        let desired = Tables { routes: desired, ..Tables::default() };
        let failed = network.apply(links, &steps(&observed, &desired, &|_| String::new())).await;
        assert!(failed.is_empty(), "{failed:?}");
        let routes = lab.one.ip("route");
        assert!(routes.contains("10.1.9.0/24 via 192.168.77.3 dev eth0"), "{routes}");
        assert!(!routes.contains("10.1.9.0/24 via 192.168.77.2"), "{routes}");
    });
}

#[test]
fn removing_what_is_absent() {
    test("removing_what_is_absent", async |lab| {
        let (network, links) = with_device(lab).await;
        let before = network.observe(links, |_, _| true).await.unwrap();
        let removals = steps(&lease(address(2)), &Tables::default(), &|_| String::new());
        assert_eq!(removals.len(), 3);
        let failed = network.apply(links, &removals).await;
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(network.observe(links, |_, _| true).await.unwrap(), before);
    });
}

#[test]
fn an_incomplete_subnet_gets_no_route() {
    test("an_incomplete_subnet_gets_no_route", async |lab| {
        let (network, links) = with_device(lab).await;
        // The kernel refuses a forwarding entry for a group of hosts: a lease with such a VTEP is invalid.
        let group = MacAddress([3, 0, 0, 0, 0, 45]);
        let mut desired = lease(address(2));
        desired.neighbors.insert(BASE, group);
        desired.forwarding = BTreeMap::from([(group, address(2))]);
        let other = Step {
            change: Change::SetNeighbor { address: [10, 1, 8, 0].into(), mac: MAC },
            reason: String::new(),
        };
        let check = async |planned: &[Step], skipped: &[Step]| {
            let failed = network.apply(links, planned).await;
            let [(first, StepError::Request(_)), rest @ ..] = failed.as_slice() else { panic!("{failed:?}") };
            assert!(matches!(first.change, Change::SetForwarding { .. }));
            assert!(rest.iter().all(|(_, error)| matches!(error, StepError::Skipped)), "{failed:?}");
            assert!(rest.iter().map(|(step, _)| step).eq(skipped), "{failed:?}");
            assert!(!lab.one.ip("route").contains("10.1.45.0"));
        };
        let mut planned = steps(&Tables::default(), &desired, &|_| String::new());
        let [set_forwarding, set_neighbor, set_route] = planned.clone().try_into().unwrap();
        planned.push(other);
        check(&planned, &[set_neighbor.clone(), set_route.clone()]).await;
        assert!(lab.one.ip("neigh").contains("10.1.8.0 "), "an independent step is done");
        // The neighbor is complete, and in no step.
        assert!(network.apply(links, &[set_neighbor]).await.is_empty());
        check(&[set_forwarding, set_route.clone()], &[set_route]).await;
        // Without a device, nothing of it is done.
        let failed = network.apply(Links { overlay: None, ..links }, &planned[..3]).await;
        assert_eq!(failed.len(), 3, "{failed:?}");
    });
}
