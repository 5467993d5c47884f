//! Networks of pods, in a network namespace of the test.

use std::fs;

use crate::lab::{IMAGE, Lab, Printed};

/// Answers each connection with a line.
const SERVER: &str = "while true; do echo hello | nc -l -p 80; done";

#[test]
fn no_network_has_loopback_only() {
    let Some(lab) = Lab::with_network("no_network_has_loopback_only") else { return };
    let printed = lab.script(&[], "ip -o link; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo pong");
    assert!(printed.stdout.contains("lo:") && printed.stdout.ends_with("pong\n"), "{printed:?}");
    assert_eq!(printed.stdout.lines().count(), 2, "{printed:?}");
}

fn in_pod(lab: &Lab, net: &str, script: &str) -> Printed {
    lab.rkt(&["run", "--insecure-options=image", net, IMAGE, "--exec=sh", "--", "-c", script])
}

/// Repeats a connection until the server's next listener accepts it.
fn get(address: &str, port: u16) -> String {
    format!(
        "for i in $(busybox seq 60); do nc -w 2 {address} {port} </dev/null | grep hello && exit 0; sleep 0.05; done; exit 1"
    )
}

#[test]
fn pods_reach_one_another_and_forwarded_ports() {
    let Some(lab) = Lab::with_network("pods_reach_one_another_and_forwarded_ports") else { return };
    let pod = lab.spawn(&["--net=default", "--port=80-tcp:8080"], SERVER);
    assert!(lab.ok(&["list", "--no-legend"]).contains("default:ip4=172.16.28.2"));
    for (net, address, port) in [
        ("--net=default", "172.16.28.2", 80),
        ("--net=default", "10.9.9.1", 8080),
        ("--net=host", "10.9.9.1", 8080),
        ("--net=host", "127.0.0.1", 8080),
    ] {
        let printed = in_pod(&lab, net, &get(address, port));
        assert_eq!(printed.code, Some(0), "{net} {address}:{port}: {printed:?}");
    }
    let own = in_pod(&lab, "--net=default", "ip -o -4 address show dev eth0; ping -c 1 -W 2 172.16.28.1");
    assert!(own.code == Some(0) && own.stdout.contains("172.16.28.3/24"), "{own:?}");
    lab.fails(
        &["run", "--insecure-options=image", "--port=81-tcp:8080", IMAGE, "--exec=id"],
        "port 8080 of the host is forwarded to pod",
    );
    lab.ok(&["stop", "--force", &pod.uuid]);
    assert_eq!(pod.finish().code, Some(137));
    // The address and the port are free again.
    let again = lab.spawn(&["--net=default", "--port=80-tcp:8080"], SERVER);
    assert!(lab.ok(&["status", &again.uuid]).contains("networks=default:ip4=172.16.28.2\n"));
}

/// Packets between two networks of pods are forwarded although Docker's policy drops others.
#[test]
fn dockers_policy_does_not_drop_packets_of_pods() {
    let Some(lab) = Lab::with_network("dockers_policy_does_not_drop_packets_of_pods") else { return };
    let script = "iptables -N DOCKER-USER && iptables -A FORWARD -j DOCKER-USER && iptables -P FORWARD DROP";
    if !lab.in_network(&["sh", "-c", script]) {
        eprintln!(
            "SKIPPED: dockers_policy_does_not_drop_packets_of_pods: no iptables (apt-get install iptables)"
        );
        return;
    }
    fs::write(lab.path("subnet.env"), FLANNEL_FILE).unwrap();
    let pod = lab.spawn(&["--net=flannel"], SERVER);
    assert!(lab.ok(&["status", &pod.uuid]).contains("networks=flannel:ip4=10.1.34.2\n"));
    for _ in 0..2 {
        let printed = in_pod(&lab, "--net=default", &get("10.1.34.2", 80));
        assert_eq!(printed.code, Some(0), "{printed:?}");
    }
}

const FLANNEL_FILE: &str =
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

#[test]
fn a_killed_rkts_rules_are_replaced() {
    let Some(lab) = Lab::with_network("a_killed_rkts_rules_are_replaced") else { return };
    let pod = lab.spawn(&["--net=default", "--port=80-tcp:8080"], SERVER);
    pod.signal(nix::sys::signal::Signal::SIGKILL);
    pod.finish();
    let again = lab.spawn(&["--net=default", "--port=80-tcp:8080"], SERVER);
    assert!(lab.ok(&["status", &again.uuid]).contains("networks=default:ip4=172.16.28.2\n"));
    let printed = in_pod(&lab, "--net=host", &get("10.9.9.1", 8080));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    // Those of a killed one are removed with its pod.
    let uuid = again.uuid.clone();
    again.signal(nix::sys::signal::Signal::SIGKILL);
    again.finish();
    lab.ok(&["rm", &uuid]);
    assert!(lab.in_network(&["sh", "-c", "! nft list tables | grep rkt-"]));
}

#[test]
fn flannels_subnet() {
    let Some(lab) = Lab::with_network("flannels_subnet") else { return };
    let file = lab.path("subnet.env");
    let run = || {
        let arguments = [
            "run",
            "--insecure-options=image",
            "--net=flannel",
            IMAGE,
            "--exec=ip",
            "--",
            "-o",
            "address",
            "show",
            "dev",
            "eth0",
        ];
        lab.rkt(&arguments)
    };
    let printed = run();
    assert!(
        printed.code == Some(254) && printed.stderr.contains("start flanneld.service first"),
        "{printed:?}"
    );
    fs::write(&file, FLANNEL_FILE).unwrap();
    let printed = run();
    assert!(printed.code == Some(0) && printed.stdout.contains("10.1.34.2/24"), "{printed:?}");
}

/// What remembers the hardware address of a pod or of the gateway reaches the next one with its address.
#[test]
fn hardware_addresses_follow_from_addresses() {
    let Some(lab) = Lab::with_network("hardware_addresses_follow_from_addresses") else { return };
    for expected in ["172.16.28.2 0a:58:ac:10:1c:02", "172.16.28.2 0a:58:ac:10:1c:02"] {
        let script = "ping -c 1 -W 2 172.16.28.1 >/dev/null; ip -o -4 address show dev eth0 | grep -o '172.*/'; \
                      cat /sys/class/net/eth0/address; ip neigh";
        let printed = in_pod(&lab, "--net=default", script);
        let own = printed.stdout.replace("/\n", " ");
        assert!(own.starts_with(expected), "{printed:?}");
        assert!(own.contains("172.16.28.1 dev eth0 lladdr 0a:58:ac:10:1c:01"), "{printed:?}");
    }
}
