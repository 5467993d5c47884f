//! Backend udp.

use std::time::Duration;

use crate::{
    lab::{Lab, STORE},
    started,
};

/// The backend of a configuration without one, as in flannel.
const CONFIG: &str = r#"{"Network":"10.1.0.0/16"}"#;

/// An IPv4 packet with a UDP datagram to a container's port; the checksum 0 of UDP is none.
fn packet(source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = |headers: usize| u16::try_from(headers + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&length(28));
    packet.extend([source, destination].concat());
    let mut sum: u32 = packet.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    packet.extend([7000_u16.to_be_bytes(), 7000_u16.to_be_bytes(), length(8), [0, 0]].concat());
    [&packet, payload].concat()
}

#[test]
fn containers_reach_each_other() {
    let Some(lab) = started("udp::containers_reach_each_other", 3, CONFIG) else { return };
    lab.wait_for_all_pairs();
    assert_eq!(lab.variable(0, "FLANNEL_MTU"), "1472");
    // A packet of full size, 28 bytes of headers included.
    lab.wait_for("a packet of full size", 0, || lab.send(0, 1, 1472 - 28));
    assert_eq!(lab.lease(0).unwrap().value.as_deref(), Some(r#"{"PublicIP":"172.30.0.11"}"#));
    assert!(lab.log(0).contains("it is slow"), "{}", lab.log(0));
    let host = &lab.hosts[0].namespace;
    let base = lab.key(0).replace("-24", "");
    assert!(host.ip("-4 address show dev flannel0").contains(&format!("inet {base}/32 ")));
    assert!(host.ip("link show dev flannel0").contains("mtu 1472 "));
    assert_eq!(host.ip("route show 10.1.0.0/16").trim_end(), "10.1.0.0/16 dev flannel0");
    lab.wait_until_unreachable(0, "10.1.0.7");

    // What a start would change: nothing; and which hosts it would use.
    let (code, plan) = lab.output(0, &["-plan", "-ip-masq"]);
    assert_eq!(code, Some(0), "{plan}");
    assert!(plan.contains("device    flannel0, exists") && !plan.contains("table "), "{plan}");
    for other in 1..3 {
        let subnet = lab.key(other).replace('-', "/");
        let line = format!("packets   {subnet} by UDP to {}:8285", lab.hosts[other].address);
        assert!(plan.contains(&line), "{plan}");
    }
}

#[test]
fn a_host_restarts_and_a_host_leaves() {
    let Some(lab) = started("udp::a_host_restarts_and_a_host_leaves", 3, CONFIG) else { return };
    lab.wait_for_all_pairs();
    let key = lab.key(0);
    lab.hosts[0].kill();
    lab.run(0, &["-ip-masq"]);
    lab.wait_for_all_pairs();
    assert_eq!(lab.key(0), key);
    let left = lab.key(2).replace(".0-24", ".2");
    lab.hosts[2].kill();
    lab.store.borrow().delete(&format!("subnets/{}", lab.key(2)));
    lab.wait_until_unreachable(0, &left);
    assert!(lab.log(0).contains("packets to 10.1."), "{}", lab.log(0));
    lab.wait_for("packets of the others", 0, || lab.send(0, 1, 8) && lab.send(1, 0, 8));
}

#[test]
fn what_others_remove_is_restored() {
    let Some(lab) = started("udp::what_others_remove_is_restored", 2, CONFIG) else { return };
    lab.wait_for_all_pairs();
    for change in
        ["route del 10.1.0.0/16", "link set flannel0 down", "link del flannel0", "address flush dev flannel0"]
    {
        lab.hosts[0].namespace.ip(change);
        lab.wait_for(change, 0, || lab.send(0, 1, 8) && lab.send(1, 0, 8));
    }
    lab.hosts[0].namespace.ip("link set flannel0 mtu 1300");
    lab.wait_for("the MTU", 0, || lab.hosts[0].namespace.ip("link show dev flannel0").contains("mtu 1472 "));
    let base = lab.key(0).replace("-24", "");
    lab.wait_for("the address", 0, || {
        lab.hosts[0].namespace.ip("-4 address show dev flannel0").contains(&format!("inet {base}/32 "))
    });
}

#[test]
fn the_device_of_another_backend_is_removed() {
    let vxlan = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}"#;
    let Some(lab) = started("udp::the_device_of_another_backend_is_removed", 2, vxlan) else { return };
    lab.wait_for_all_pairs();
    lab.store.borrow().set("config", CONFIG, None);
    // Of another daemon, with a network of its own.
    lab.hosts[0].namespace.shell(
        "ip link add flannel.7 type vxlan id 7 dstport 8472 && ip link set flannel.7 up
         ip route add 10.2.0.0/16 dev flannel.7",
    );
    for host in 0..2 {
        lab.hosts[host].kill();
        let (code, plan) = lab.output(host, &["-plan"]);
        assert_eq!(code, Some(0), "{plan}");
        assert!(plan.contains("device    flannel.1, would be removed"), "{plan}");
        lab.run(host, &["-ip-masq"]);
    }
    let has = |host: usize, device: &str| lab.hosts[host].namespace.ip("link").contains(device);
    for host in 0..2 {
        lab.wait_for("the removal", host, || has(host, "flannel0:") && !has(host, "flannel.1:"));
    }
    lab.wait_for_all_pairs();
    assert!(has(0, "flannel.7:"), "{}", lab.log(0));
    // And back: the TUN device ends with its daemon.
    lab.store.borrow().set("config", vxlan, None);
    for host in 0..2 {
        lab.hosts[host].kill();
        lab.run(host, &["-ip-masq"]);
        lab.wait_for("the device", host, || has(host, "flannel.1:") && !has(host, "flannel0:"));
    }
    lab.wait_for_all_pairs();
}

/// The form of the datagrams is flannel's: this test is a host of its own.
#[test]
fn datagrams_are_ipv4_packets() {
    let Some(lab) = started("udp::datagrams_are_ipv4_packets", 1, CONFIG) else { return };
    let socket = lab.link.socket(&format!("{STORE}:8285"));
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    lab.store.borrow().set("subnets/10.1.77.0-24", &format!(r#"{{"PublicIP":"{STORE}"}}"#), None);
    let container: Vec<u8> =
        lab.key(0).split(['.', '-']).take(3).map(|part| part.parse().unwrap()).chain([2]).collect();
    let container: [u8; 4] = container.try_into().unwrap();
    let remote = [10, 1, 77, 2];
    let mut buffer = [0; 2048];
    lab.wait_for("a packet", 0, || {
        lab.send_to(0, b"to the remote container", "10.1.77.2:7000");
        socket.recv_from(&mut buffer.clone()).is_ok()
    });
    lab.send_to(0, b"to the remote container", "10.1.77.2:7000");
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (length, sender) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(sender.to_string(), "172.30.0.11:8285");
    let expected = packet(container, remote, b"to the remote container");
    assert_eq!((length, buffer[0], &buffer[12..20]), (expected.len(), 0x45, &expected[12..20]));
    assert_eq!(buffer[8], 62, "the host and its proxy lower the TTL");
    assert!(buffer[..length].ends_with(b"to the remote container"));

    let host = ("172.30.0.11", 8285);
    for junk in [&b""[..], b"x", &[0x45; 20], &[0xff; 1472]] {
        socket.send_to(junk, host).unwrap();
    }
    // To a host of another subnet, and to no container at all.
    socket.send_to(&packet(remote, [10, 1, 77, 3], b"elsewhere"), host).unwrap();
    lab.wait_for("a packet of the other host", 0, || {
        socket.send_to(&packet(remote, container, b"from the remote container"), host).unwrap();
        let sender = lab.received(0, b"from the remote container");
        sender.is_some_and(|sender| sender == "10.1.77.2:7000")
    });
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let elsewhere = |length: usize, buffer: &[u8]| buffer[..length].ends_with(b"elsewhere");
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        assert!(!elsewhere(length, &buffer), "the host forwards packets that are not for its subnet");
    }
}

#[test]
fn a_used_port_is_an_error_before_a_lease() {
    let Some(lab) = Lab::start("udp::a_used_port_is_an_error_before_a_lease", 1, CONFIG) else { return };
    let _used = lab.hosts[0].namespace.socket("172.30.0.11:8285");
    let (code, text) = lab.output(0, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("backend udp cannot receive at 172.30.0.11:8285: another program"), "{text}");
    assert!(lab.store.borrow().get("subnets").is_none(), "nothing is leased");
}
