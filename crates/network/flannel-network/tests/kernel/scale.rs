use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use flannel_core::{MacAddress, Route, RouteLink, Tables, steps};
use flannel_network::{Firewall, Links, Network};
use ipnet::Ipv4Net;

use crate::lab::{device, test};

const LEASES: u16 = 1_000;
/// The contract's, by ten: hosts that run tests are busy. The figures are printed.
const LIMIT: Duration = Duration::from_secs(30);

fn leases() -> Tables {
    let mut tables = Tables::default();
    for lease in 0..LEASES {
        let [high, low] = lease.to_be_bytes();
        let base = Ipv4Addr::new(10, 100 + high, low, 0);
        let mac = MacAddress([2, 0, 0, 1, high, low]);
        tables.neighbors.insert(base, mac);
        tables.forwarding.insert(mac, Ipv4Addr::new(192, 168, high, low));
        let route = Route { gateway: Some(base), link: RouteLink::Overlay };
        tables.routes.insert(Ipv4Net::new(base, 24).unwrap(), route);
    }
    tables
}

#[test]
fn a_thousand_leases() {
    test("a_thousand_leases", async |lab| {
        let network = lab.one.network();
        let external = lab.one.index("eth0");
        let index = network.ensure_vxlan(&device(1, external)).await.unwrap().index;
        let links = Links { overlay: Some(index), external };
        let mut last = Tables::default();
        for (what, desired) in [("set", leases()), ("removed", Tables::default())] {
            let begin = Instant::now();
            let planned = steps(&last, &desired, &|_| String::new());
            assert_eq!(planned.len(), 3 * usize::from(LEASES));
            let failed = network.apply(links, &planned).await;
            assert!(failed.is_empty(), "{} steps, first: {:?}", failed.len(), failed[0]);
            let applied = begin.elapsed();
            assert_eq!(network.observe(links, |_, _| true).await.unwrap(), desired);
            let observed = begin.elapsed() - applied;
            eprintln!("{LEASES} leases {what} in {applied:.2?}, observed in {observed:.2?}");
            assert!(applied + observed < LIMIT);
            last = desired;
        }
        let addresses =
            (0..LEASES).map(|host| Ipv4Addr::new(192, 168, 77, u8::try_from(host % 250).unwrap()));
        let begin = Instant::now();
        network.routes_directly(external, addresses).await.unwrap();
        eprintln!("{LEASES} routes looked up in {:.2?}", begin.elapsed());
        assert!(begin.elapsed() < LIMIT);
    });
}

/// A service of several threads may run each operation as a task.
#[test]
fn operations_are_tasks() {
    fn is_task<T: Send>(_: impl FnOnce(&'static Network, &'static Firewall) -> T) {}
    is_task(|network, _| network.observe(Links { overlay: None, external: 1 }, |_, _| true));
    is_task(|network, _| network.apply(Links { overlay: None, external: 1 }, &[]));
    is_task(|network, _| network.routes_directly(1, Vec::new()));
    is_task(|network, _| network.ensure_vxlan(Box::leak(Box::new(device(1, 1)))));
    is_task(|network, _| network.open_tun("flannel0"));
    is_task(|network, _| network.interfaces());
    is_task(|network, _| async { network.changes().unwrap().next(None).await });
    is_task(|_, firewall| firewall.ensure_rules(&[]));
}
