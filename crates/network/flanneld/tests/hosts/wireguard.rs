//! Backend wireguard.

use std::fs;

use crate::lab::Lab;

const CONFIG: &str = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"wireguard"}}"#;

fn is_supported(lab: &Lab) -> bool {
    let mut probe = lab.link.command("ip");
    let supported =
        probe.args(["link", "add", "probe", "type", "wireguard"]).output().unwrap().status.success();
    if supported {
        lab.link.ip("link delete probe");
    }
    supported
}

fn public_key(lab: &Lab, host: usize) -> String {
    let value = lab.lease(host).unwrap().value.unwrap();
    value.split("PublicKey\":\"").nth(1).unwrap()[..44].to_owned()
}

#[test]
fn containers_reach_each_other() {
    let test = "wireguard::containers_reach_each_other";
    let Some(lab) = Lab::start(test, 3, CONFIG) else { return };
    if !is_supported(&lab) {
        let (code, text) = lab.output(0, &[]);
        assert_eq!(code, Some(1), "{text}");
        let message = "cannot create device flannel-wg: the kernel has no WireGuard: load or install module";
        assert!(text.contains(message), "{text}");
        assert!(lab.store.borrow().get("subnets").is_none(), "nothing is leased");
        eprintln!("SKIPPED: {test}: the kernel has no WireGuard");
        return;
    }
    for host in 0..3 {
        lab.run(host, &["-ip-masq"]);
        lab.start_container(host);
    }
    lab.wait_for_all_pairs();
    assert_eq!(lab.variable(0, "FLANNEL_MTU"), "1420");
    lab.wait_for("a packet of full size", 0, || lab.send(0, 1, 1420 - 28));
    let host = &lab.hosts[0].namespace;
    assert_eq!(host.ip("route show 10.1.0.0/16").trim_end(), "10.1.0.0/16 dev flannel-wg");

    // A restart keeps key and peers.
    let before = public_key(&lab, 0);
    lab.hosts[0].kill();
    lab.wait_for("packets, which the kernel carries", 0, || lab.send(0, 1, 8) && lab.send(1, 0, 8));
    lab.run(0, &["-ip-masq"]);
    lab.wait_for_all_pairs();
    assert_eq!(public_key(&lab, 0), before);
    // After a boot the key is another one.
    lab.hosts[0].kill();
    fs::remove_file(lab.file(0, "wgkey")).unwrap();
    lab.run(0, &["-ip-masq"]);
    lab.wait_for("the new key", 0, || public_key(&lab, 0) != before);
    lab.wait_for_all_pairs();
    // A host that leaves.
    lab.hosts[2].kill();
    lab.store.borrow().delete(&format!("subnets/{}", lab.key(2)));
    lab.wait_for("the packets to end", 0, || !lab.send(0, 2, 8));
    let (code, text) = lab.output(1, &["-teardown"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!lab.hosts[1].namespace.ip("link").contains("flannel"), "{text}");
}

#[test]
fn a_plan_creates_no_key() {
    let Some(lab) = Lab::start("wireguard::a_plan_creates_no_key", 1, CONFIG) else { return };
    let (code, plan) = lab.output(0, &["-plan"]);
    assert_eq!(code, Some(0), "{plan}");
    let expected = format!("key       {}, would be created", lab.file(0, "wgkey"));
    assert!(plan.contains(&expected), "{plan}");
    assert!(plan.contains("ip route replace 10.1.0.0/16 dev $DEV  # the network"), "{plan}");
    assert!(fs::metadata(lab.file(0, "wgkey")).is_err());
}

#[test]
fn a_damaged_key_is_an_error() {
    let Some(lab) = Lab::start("wireguard::a_damaged_key_is_an_error", 1, CONFIG) else { return };
    let file = lab.file(0, "wgkey");
    service::file::replace(file.as_ref(), b"damaged", 0o600).unwrap();
    for arguments in [&[][..], &["-plan"]] {
        let (code, text) = lab.output(0, arguments);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("cannot use the private key {file}: 32 bytes in Base64")), "{text}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"damaged");
    assert!(lab.store.borrow().get("subnets").is_none(), "nothing is leased");
}
