use crate::lab::{address, test};

#[test]
fn interfaces_and_their_addresses() {
    test("interfaces_and_their_addresses", async |lab| {
        lab.one.ip("address add 169.254.7.7/16 scope link dev eth0");
        lab.one.ip("link add alone type bridge");
        let interfaces = lab.one.network().interfaces().await.unwrap();
        let find = |name| interfaces.iter().find(|interface| interface.name == name).unwrap();
        let [loopback, eth, alone] = ["lo", "eth0", "alone"].map(find);
        assert_eq!(loopback.addresses, ["127.0.0.1/8".parse().unwrap()]);
        assert_eq!((eth.index, eth.mtu), (lab.one.index("eth0"), 1500));
        let mut addresses = eth.addresses.clone();
        addresses.sort();
        assert_eq!(addresses, ["169.254.7.7/16".parse().unwrap(), "192.168.77.1/24".parse().unwrap()]);
        assert!(alone.addresses.is_empty());
    });
}

#[test]
fn the_default_interface() {
    test("the_default_interface", async |lab| {
        let network = lab.one.network();
        let check = async |expected| {
            assert_eq!(network.default_interface().await.unwrap(), expected);
        };
        check(None).await;
        lab.one.ip("link add other type veth peer name other-peer");
        lab.one.ip("address add 192.168.88.1/24 dev other");
        lab.one.ip("link set other up");
        lab.one.ip("link set other-peer up");
        // In another table, or to half of all addresses: no default route of the host.
        lab.one.ip("route add default via 192.168.77.2 table 100");
        lab.one.ip("route add 128.0.0.0/1 via 192.168.77.2");
        check(None).await;
        lab.one.ip("route add default via 192.168.88.2 metric 200");
        check(Some(lab.one.index("other"))).await;
        lab.one.ip("route add default via 192.168.77.2 metric 100");
        check(Some(lab.one.index("eth0"))).await;
        lab.one.ip("route add default dev other metric 50");
        check(Some(lab.one.index("other"))).await;
    });
}

#[test]
fn direct_routes() {
    test("direct_routes", async |lab| {
        let network = lab.one.network();
        let external = lab.one.index("eth0");
        let far = [10, 9, 0, 1].into();
        let addresses = [address(1), address(2), address(3), far];
        let direct = network.routes_directly(external, addresses).await.unwrap();
        assert_eq!(direct, [address(2), address(3)].into());
        lab.one.ip("route add 10.9.0.0/16 via 192.168.77.2");
        lab.one.ip("route add blackhole 192.168.77.3/32");
        let direct = network.routes_directly(external, addresses).await.unwrap();
        assert_eq!(direct, [address(2)].into());
        // Reached without a gateway, but not through the external interface.
        assert!(network.routes_directly(lab.one.index("lo"), addresses).await.unwrap().is_empty());
    });
}
