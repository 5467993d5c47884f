use flannel_network::AddressOutcome;

use crate::lab::{chain, device, test};

#[test]
fn the_address_of_the_device() {
    test("the_address_of_the_device", async |lab| {
        let network = lab.one.network();
        let index = network.ensure_vxlan(&device(1, lab.one.index("eth0"))).await.unwrap().index;
        let lease = "10.1.34.0/32".parse().unwrap();
        let ensure = async || network.ensure_address(index, lease).await;
        assert_eq!(ensure().await.unwrap(), AddressOutcome::Added);
        assert_eq!(ensure().await.unwrap(), AddressOutcome::Kept);
        // Routes through the device outlive the replacement.
        lab.one.ip("address add 10.1.99.0/32 dev flannel.1");
        lab.one.ip("address delete 10.1.34.0/32 dev flannel.1");
        lab.one.ip("route add 10.1.45.0/24 via 10.1.45.0 dev flannel.1 onlink");
        assert_eq!(ensure().await.unwrap(), AddressOutcome::Replaced("10.1.99.0/32".parse().unwrap()));
        assert!(lab.one.ip("route").contains("10.1.45.0/24 via 10.1.45.0 dev flannel.1 onlink"));
        assert!(
            lab.one
                .ip("-4 -o address show dev flannel.1")
                .contains(" inet 10.1.34.0/32 scope global flannel.1")
        );
        // The same address with another prefix.
        lab.one.ip("address add 10.1.34.0/24 dev flannel.1");
        lab.one.ip("address delete 10.1.34.0/32 dev flannel.1");
        assert_eq!(ensure().await.unwrap(), AddressOutcome::Replaced("10.1.34.0/24".parse().unwrap()));
        assert_eq!(ensure().await.unwrap(), AddressOutcome::Kept);
        lab.one.ip("address add 10.1.98.0/32 dev flannel.1");
        let expected = format!(
            "device {index} has 2 IPv4 addresses (10.1.34.0/32, 10.1.98.0/32); it must have only 10.1.34.0/32: delete \
             the others"
        );
        assert_eq!(chain(&ensure().await.unwrap_err()), expected);
    });
}
