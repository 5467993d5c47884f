use std::{net::Ipv4Addr, time::Duration};

use flannel_core::{MacAddress, Route, RouteLink, Tables};
use flannel_network::{Changed, Changes, Links, Outcome};
use ipnet::Ipv4Net;
use tokio::time::timeout;

use crate::lab::{PATIENCE, address, device, eventually, reach, test};

const NONE: Changed = Changed { links: false, addresses: false, routes: false, neighbors: false };

#[test]
fn changes_of_others() {
    test("changes_of_others", async |lab| {
        let network = lab.one.network();
        let external = lab.one.index("eth0");
        let index = network.ensure_vxlan(&device(1, external)).await.unwrap().index;
        let links = Links { overlay: Some(index), external };
        let base = Ipv4Addr::new(10, 1, 45, 0);
        let mac = MacAddress([2, 0, 0, 0, 0, 45]);
        let mut desired = Tables::default();
        desired.neighbors.insert(base, mac);
        desired.forwarding.insert(mac, address(2));
        let route = Route { gateway: Some(base), link: RouteLink::Overlay };
        desired.routes.insert(Ipv4Net::new(base, 24).unwrap(), route);
        reach(&network, links, &desired).await;
        let mut changes = network.changes().unwrap();
        let check = async |changes: &mut Changes, change: &str, expected: fn(&Changed) -> bool| {
            lab.one.ip(change);
            // One command may notify more than once.
            let mut seen = NONE;
            eventually(async || {
                let next = timeout(PATIENCE, changes.next(Some(index))).await.unwrap().unwrap();
                seen.links |= next.links;
                seen.addresses |= next.addresses;
                seen.routes |= next.routes;
                seen.neighbors |= next.neighbors;
                if expected(&seen) { Ok(()) } else { Err(format!("{change}: {seen:?}")) }
            })
            .await;
        };
        check(&mut changes, "route delete 10.1.45.0/24", |seen| *seen == Changed { routes: true, ..NONE })
            .await;
        reach(&network, links, &desired).await;
        assert!(lab.one.ip("route").contains("10.1.45.0/24 via 10.1.45.0 dev flannel.1 onlink"));
        // Also the own change is reported.
        check(&mut changes, "neigh delete 10.1.45.0 dev flannel.1", |seen| seen.routes && seen.neighbors)
            .await;
        reach(&network, links, &desired).await;
        // The kernel also drops the neighbors then.
        check(&mut changes, "link set flannel.1 address 02:09:09:09:09:09", |seen| seen.links).await;
        assert_eq!(network.ensure_vxlan(&device(1, external)).await.unwrap().outcome, Outcome::Changed);
        reach(&network, links, &desired).await;
        drain(&mut changes, Some(index)).await;
        // Neighbors of other devices and routes of other tables are no changes.
        lab.one.ip("neigh add 192.168.77.9 lladdr 02:00:00:00:00:09 dev eth0");
        lab.one.ip("route add 10.9.0.0/16 via 192.168.77.2 table 100");
        let address = "address add 10.77.0.1/32 dev eth0 noprefixroute";
        check(&mut changes, address, |seen| *seen == Changed { addresses: true, ..NONE }).await;
    });
}

/// Reads what is in the socket's buffer.
async fn drain(changes: &mut Changes, device: Option<u32>) {
    while timeout(Duration::from_millis(300), changes.next(device)).await.is_ok() {}
}

#[test]
fn an_overrun_counts_as_one_change_of_everything() {
    test("an_overrun_counts_as_one_change_of_everything", async |lab| {
        let network = lab.one.network();
        let mut changes = network.changes().unwrap();
        let links = Links { overlay: None, external: lab.one.index("eth0") };
        let route = Route { gateway: Some(address(2)), link: RouteLink::External };
        let routes = (0..4_000_u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            (Ipv4Net::new(Ipv4Addr::new(10, 100 + high, low, 0), 24).unwrap(), route)
        });
        let many = Tables { routes: routes.collect(), ..Tables::default() };
        reach(&network, links, &many).await;
        let next = timeout(PATIENCE, changes.next(None)).await.unwrap().unwrap();
        assert!(next.links && next.addresses && next.routes && next.neighbors, "{next:?}");
        // What is in the buffer still; then one change is one again.
        drain(&mut changes, None).await;
        lab.one.ip("address add 10.77.0.1/32 dev eth0 noprefixroute");
        let mut seen = NONE;
        while !seen.addresses {
            seen = timeout(PATIENCE, changes.next(None)).await.unwrap().unwrap();
            assert!(!seen.links && !seen.neighbors, "{seen:?}");
        }
    });
}
