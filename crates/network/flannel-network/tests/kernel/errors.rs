use caps::{CapSet, Capability};
use flannel_core::{Change, MacAddress, Step, forward_rules};
use flannel_network::{Firewall, Links, Network, StepError};
use nix::errno::Errno;

use crate::lab::{address, chain, device, test};

#[test]
fn the_vni_is_in_use() {
    test("the_vni_is_in_use", async |lab| {
        lab.one.ip("link add tenant9 type vxlan id 1 local 192.168.77.1 dev eth0 dstport 8472");
        let error = lab.one.network().ensure_vxlan(&device(1, lab.one.index("eth0"))).await.unwrap_err();
        let expected = "cannot create device flannel.1: device tenant9 already uses VNI 1 and port 8472; delete it, \
                        or set another `VNI` in the network configuration";
        assert_eq!(chain(&error), expected);
    });
}

#[test]
fn there_is_no_underlay() {
    test("there_is_no_underlay", async |lab| {
        let error = lab.one.network().ensure_vxlan(&device(1, 999)).await.unwrap_err();
        let text = chain(&error);
        let expected =
            "cannot create device flannel.1: there is no external interface with index 999: No such device";
        assert!(text.starts_with(expected), "{text}");
    });
}

#[test]
fn an_invalid_name() {
    test("an_invalid_name", async |lab| {
        let mut desired = device(1, lab.one.index("eth0"));
        desired.name = "a-name-that-is-too-long".into();
        let text = chain(&lab.one.network().ensure_vxlan(&desired).await.unwrap_err());
        assert!(text.contains("a-name-that-is-too-long"), "{text}");
    });
}

#[test]
fn the_capability_is_missing() {
    test("the_capability_is_missing", async |lab| {
        // Of this thread, on which also the tasks of the sockets run.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let missing = "Operation not permitted: capability CAP_NET_ADMIN is required in the user namespace that owns \
                       the network namespace";
        let check = |text: String| {
            let without_detail = text.split(" (").next().unwrap().len();
            assert!(text.ends_with(missing) || text[without_detail..].contains("CAP_NET_ADMIN"), "{text}");
        };
        let network = Network::open().unwrap();
        let error = network.ensure_vxlan(&device(1, lab.one.index("eth0"))).await.unwrap_err();
        assert!(chain(&error).starts_with("cannot create device flannel.1: "));
        check(chain(&error));
        let external = lab.one.index("eth0");
        check(chain(&network.ensure_address(external, "10.1.34.0/32".parse().unwrap()).await.unwrap_err()));
        let links = Links { overlay: Some(external), external };
        let change = Change::SetNeighbor { address: address(9), mac: MacAddress([2; 6]) };
        let failed = network.apply(links, &[Step { change, reason: String::new() }]).await;
        check(chain(&failed[0].1));
        let rules = forward_rules("10.1.0.0/16".parse().unwrap());
        check(chain(&Firewall::open().unwrap().ensure_rules(&rules).await.unwrap_err()));
        let Err(error) = network.open_tun("flannel0").await else { panic!("opened") };
        assert!(chain(&error).contains("CAP_NET_ADMIN"), "{}", chain(&error));
        // What needs no right.
        assert!(!network.interfaces().await.unwrap().is_empty());
        caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
    });
}

#[test]
fn a_closed_socket_acknowledges_nothing() {
    test("a_closed_socket_acknowledges_nothing", async |_| {
        // The task that reads the socket ends with its runtime.
        let open = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _within = runtime.enter();
            Network::open().unwrap()
        };
        let network = std::thread::spawn(open).join().unwrap();
        let change = Change::RemoveNeighbor { address: address(9), mac: MacAddress([2; 6]) };
        let step = Step { change, reason: String::new() };
        let failed = network.apply(Links { overlay: Some(1), external: 1 }, &[step]).await;
        assert_eq!(chain(&failed[0].1), "the netlink socket is closed");
        let error = network.interfaces().await.unwrap_err();
        assert_eq!(chain(&error), "cannot list the kernel's links: the netlink socket is closed");
    });
}

#[test]
fn a_removed_device() {
    test("a_removed_device", async |lab| {
        let network = lab.one.network();
        let links = Links { overlay: Some(999), external: lab.one.index("eth0") };
        let mac = MacAddress([2; 6]);
        let remove = Change::RemoveForwarding { mac, host: address(2) };
        let set = Change::SetForwarding { mac, host: address(2) };
        let steps = [set, remove].map(|change| Step { change, reason: String::new() });
        let failed = network.apply(links, &steps).await;
        let [(step, StepError::Request(error))] = failed.as_slice() else { panic!("{failed:?}") };
        assert_eq!(step, &steps[0]);
        assert!(error.is(Errno::ENODEV), "{error}");
        let error = network.observe(links, |_, _| true).await.unwrap_err();
        assert_eq!(chain(&error), "cannot list the peers of device 999: No such device");
    });
}
