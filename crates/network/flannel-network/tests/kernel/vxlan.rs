use flannel_core::MacAddress;
use flannel_network::{Ensured, Outcome};

use crate::lab::{device, test};

#[test]
fn a_device_is_created_and_kept() {
    test("a_device_is_created_and_kept", async |lab| {
        let network = lab.one.network();
        let desired = device(1, lab.one.index("eth0"));
        let Ensured { index, outcome } = network.ensure_vxlan(&desired).await.unwrap();
        assert_eq!(outcome, Outcome::Created);
        assert_eq!(index, lab.one.index("flannel.1"));
        let shown = lab.one.ip("-d link show dev flannel.1");
        for part in [
            "mtu 1450",
            "UP",
            "link/ether 02:01:01:01:01:01",
            "vxlan id 1 local 192.168.77.1 dev eth0",
            "dstport 8472",
            "nolearning",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let again = network.ensure_vxlan(&desired).await.unwrap();
        assert_eq!(again, Ensured { index, outcome: Outcome::Kept });
        assert_eq!(lab.one.ip("-d link show dev flannel.1"), shown);
        // Another process, after a restart.
        let again = lab.one.network().ensure_vxlan(&desired).await.unwrap();
        assert_eq!(again, Ensured { index, outcome: Outcome::Kept });
    });
}

#[test]
fn what_others_changed_is_corrected() {
    test("what_others_changed_is_corrected", async |lab| {
        let network = lab.one.network();
        let desired = device(1, lab.one.index("eth0"));
        let index = network.ensure_vxlan(&desired).await.unwrap().index;
        for change in ["address 02:aa:aa:aa:aa:aa", "mtu 1400", "address 02:bb:bb:bb:bb:bb mtu 1300 down"] {
            lab.one.ip(&format!("link set flannel.1 {change}"));
            let ensured = network.ensure_vxlan(&desired).await.unwrap();
            assert_eq!(ensured, Ensured { index, outcome: Outcome::Changed }, "{change}");
            let shown = lab.one.ip("link show dev flannel.1");
            assert!(
                shown.contains("02:01:01:01:01:01") && shown.contains("mtu 1450") && shown.contains("UP")
            );
        }
        lab.one.ip("link set flannel.1 down");
        assert_eq!(network.ensure_vxlan(&desired).await.unwrap(), Ensured { index, outcome: Outcome::Kept });
        assert!(lab.one.ip("link show dev flannel.1").contains("UP"));
    });
}

#[test]
fn a_device_with_other_attributes_is_recreated() {
    test("a_device_with_other_attributes_is_recreated", async |lab| {
        let network = lab.one.network();
        let desired = device(1, lab.one.index("eth0"));
        let check = async |create: &str, reason: &str| {
            lab.one.try_program("ip", "link delete flannel.1");
            lab.one.ip(&format!("link add flannel.1 type {create}"));
            let old = lab.one.index("flannel.1");
            let ensured = network.ensure_vxlan(&desired).await.unwrap();
            assert_eq!(ensured.outcome, Outcome::Recreated(reason.into()), "{create}");
            assert_ne!(ensured.index, old);
            assert_eq!(network.ensure_vxlan(&desired).await.unwrap().outcome, Outcome::Kept);
        };
        check("bridge", "it is a device of kind bridge, required is vxlan").await;
        let local = "local 192.168.77.1 dev eth0";
        check(&format!("vxlan id 1 {local} dstport 8472"), "learning is true, required is false").await;
        check(
            &format!("vxlan id 1 {local} dstport 8472 nolearning l2miss l3miss"),
            "l3miss is true, required is false",
        )
        .await;
        check(&format!("vxlan id 1 {local} dstport 4789 nolearning"), "port is 4789, required is 8472").await;
        check(&format!("vxlan id 1 {local} dstport 8472 nolearning gbp"), "gbp is true, required is false")
            .await;
        check(
            &format!("vxlan id 1 {local} dstport 8472 nolearning group 239.1.1.1"),
            "group is true, required is false",
        )
        .await;
        check("vxlan id 1 dev eth0 dstport 8472 nolearning", "local is 0.0.0.0, required is 192.168.77.1")
            .await;
    });
}

#[test]
fn a_group_policy() {
    test("a_group_policy", async |lab| {
        let network = lab.one.network();
        let mut desired = device(1, lab.one.index("eth0"));
        desired.group_policy = true;
        desired.mac = MacAddress([2, 3, 4, 5, 6, 7]);
        assert_eq!(network.ensure_vxlan(&desired).await.unwrap().outcome, Outcome::Created);
        assert!(lab.one.ip("-d link show dev flannel.1").contains(" gbp"));
        assert_eq!(network.ensure_vxlan(&desired).await.unwrap().outcome, Outcome::Kept);
    });
}
