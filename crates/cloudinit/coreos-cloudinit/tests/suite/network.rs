//! `-convert-netconf`: converts the datasource's network config for networkd.

use crate::support::Machine;
use crate::support::systemd::FakeSystemd;

const DEBIAN: &str = include_str!("../../../cloudinit/tests/data/network/bond-under-vlan.interfaces");
const OPENSTACK: &str = include_str!("../../../cloudinit/tests/data/network/openstack.json");
const CONVERT: &str = "-convert-netconf=debian";

/// A machine with `eth0` and `eth1`, and a config drive with this network config.
fn machine(network: Option<&str>) -> (Machine, String) {
    let machine = Machine::new();
    for interface in ["lo", "eth0", "eth1"] {
        machine.put(&format!("/sys/class/net/{interface}/address"), "00:00:00:00:00:00\n");
    }
    let meta = r#"{"hostname": "a", "network_config": {"content_path": "/content/0000"}}"#;
    machine.put("/drive/openstack/latest/meta_data.json", if network.is_some() { meta } else { "{}" });
    if let Some(network) = network {
        machine.put("/drive/openstack/content/0000", network);
    }
    let from = format!("-from-configdrive={}", machine.path("/drive").display());
    (machine, from)
}

#[test]
fn files_are_written_and_networkd_is_restarted_once() {
    let (machine, from) = machine(Some(DEBIAN));
    machine.record("ip", 0);
    machine.record("modprobe", 0);
    let systemd = FakeSystemd::start(&machine, &[("systemd-networkd.service", "done")]);
    machine.put(
        "/drive/openstack/latest/user_data",
        "#cloud-config\ncoreos: {units: [{name: x.network, content: '[Match]'}]}\n",
    );
    let plan = machine.start(&[&from, CONVERT, "-plan"], &[], b"");
    plan.expect(
        0,
        &["{\"op\":\"interface-down\",\"name\":\"eth0\",", "{\"op\":\"modprobe\",\"argv\":[\"8021q\"],"],
    );
    assert!(!machine.has("/run") && machine.recorded().is_empty());

    let warning = "Warning: network config: bond-weather of bond0 is ignored";
    machine.start(&[&from, CONVERT, "-root-run"], &[], b"").expect(
        0,
        &["Converting network config of format \"debian\"", "Wrote unit \"02-eth0.network\"", warning],
    );
    assert_eq!(
        machine.recorded(),
        [
            "ip link set dev eth0 down",
            "ip link set dev eth1 down",
            "modprobe 8021q",
            "modprobe bonding lacp-rate=1 miimon=100 mode=4",
        ]
    );
    let restart = ["RestartUnit systemd-networkd.service", "job of systemd-networkd.service: done"];
    let calls: Vec<_> = systemd.calls().into_iter().filter(|call| call.contains("networkd")).collect();
    assert_eq!(calls, restart);
    let file = "/run/systemd/network/01-bond0.network";
    assert_eq!(machine.read(file), "[Match]\nName=bond0\n\n[Network]\nVLAN=bond0.101\n");
    assert_eq!(machine.mode(file), 0o644);
    assert!(machine.has("/run/systemd/network/00-bond0.101.netdev"));

    machine.start(&[&from, CONVERT, "-root-run"], &[], b"").expect(0, &["Nothing changed"]);
    assert_eq!((systemd.calls(), machine.recorded().len()), (vec![], 4));
}

#[test]
fn interface_down_failure_is_a_warning_and_modprobe_failure_an_error() {
    let (machine, from) = machine(Some("iface eth0 inet dhcp\n"));
    machine.record("ip", 2);
    let systemd = FakeSystemd::start(&machine, &[("systemd-networkd.service", "done")]);
    let expected = "Warning: interface \"eth0\" cannot be set down: ip failed with exit status: 2: refused";
    machine.start(&[&from, CONVERT, "-root-run"], &[], b"").expect(0, &[expected]);
    machine.record("modprobe", 1);
    machine.put("/drive/openstack/content/0000", "iface eth0.7 inet dhcp\n");
    let expected =
        "Failed to apply cloud-config: modprobe 8021q: modprobe failed with exit status: 1: refused";
    machine.start(&[&from, CONVERT, "-root-run"], &[], b"").expect(1, &[expected]);
    assert!(machine.has("/run/systemd/network/00-eth0.7.network"));
    assert_eq!(systemd.calls().len(), 4);
}

#[test]
fn invalid_network_aborts_the_run() {
    let (machine, from) = machine(Some("iface eth0 inet static\n"));
    let expected = "error: Failed to generate interfaces: malformed static network config for \"eth0\"";
    for more in ["-plan", "-ignore-failure"] {
        machine.start(&[&from, CONVERT, more], &[], b"").expect(1, &[expected]);
    }
    assert!(!machine.has("/etc/hostname"));
    machine.start(&[&from], &[], b"").expect(0, &[]).never_contains("interfaces");
    machine
        .start(&[&from, "-convert-netconf=packet"], &[], b"")
        .expect(1, &["the datasource's network config is not of format \"packet\""]);
}

#[test]
fn missing_network_config_is_ignored() {
    let (machine, from) = machine(None);
    machine.put("/drive/openstack/latest/user_data", "#cloud-config\nhostname: b\n");
    machine
        .start(&[&from, CONVERT], &[], b"")
        .expect(0, &["no network config to convert", "Set hostname to b"]);
    assert!(!machine.has("/run/systemd/network"));
}

#[test]
fn openstack_network_data_is_the_fallback_for_debian() {
    let (machine, from) = machine(None);
    machine.put("/drive/openstack/latest/network_data.json", OPENSTACK);
    machine.start(&[&from, CONVERT], &[], b"").expect(0, &["Skipping modprobe 8021q: -root is given"]);
    assert!(machine.read("/run/systemd/network/00-vlan2.network").contains("Address=10.184.0.244/20"));
    machine
        .put("/drive/openstack/latest/meta_data.json", r#"{"network_config": {"content_path": "../../x"}}"#);
    machine.start(&[&from, CONVERT], &[], b"").expect(0, &["ignoring network_config.content_path"]);
}
