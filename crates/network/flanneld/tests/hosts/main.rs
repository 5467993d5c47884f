//! Daemons on hosts that are network namespaces: leases, packets between containers, and what goes wrong.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod connections;
mod lab;
mod namespace;
mod store;
mod udp;
mod wireguard;

use std::time::{Duration, Instant};

use lab::Lab;
use nix::sys::signal::Signal;

const VXLAN: &str = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}"#;

fn started(test: &str, hosts: u8, config: &str) -> Option<Lab> {
    let lab = Lab::start(test, hosts, config)?;
    for host in 0..hosts.into() {
        lab.run(host, &["-ip-masq"]);
        lab.start_container(host);
    }
    Some(lab)
}

#[test]
fn containers_reach_each_other() {
    let Some(lab) = started("containers_reach_each_other", 3, VXLAN) else { return };
    lab.wait_for_all_pairs();
    // A packet of full size, 28 bytes of headers included.
    assert!(lab.send(0, 1, 1450 - 28));

    let subnet = lab.variable(0, "FLANNEL_SUBNET");
    let file = std::fs::read_to_string(lab.file(0, "subnet.env")).unwrap();
    assert_eq!(
        file,
        format!(
            "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        )
    );
    let node = lab.lease(0).unwrap();
    let link = lab.hosts[0].namespace.ip("-o link show flannel.1");
    let mac = link.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let value =
        format!(r#"{{"PublicIP":"172.30.0.11","BackendType":"vxlan","BackendData":{{"VtepMAC":"{mac}"}}}}"#);
    assert_eq!(node.value.as_deref(), Some(value.as_str()));
    assert!((86_000..=86_400).contains(&node.ttl), "{}", node.ttl);
    let other = lab.key(1).replace("-24", "");
    let route = lab.hosts[0].namespace.ip(&format!("route show {other}/24"));
    assert_eq!(route.trim_end(), format!("{other}/24 via {other} dev flannel.1 onlink"));
}

#[test]
fn ten_thousand_connections_are_answered() {
    let Some(lab) = started("ten_thousand_connections_are_answered", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    connections::exchange(&lab, 10_000, 8);
}

#[test]
fn packets_that_leave_the_network_have_the_host_s_address() {
    let Some(lab) = started("packets_that_leave_the_network_have_the_host_s_address", 1, VXLAN) else {
        return;
    };
    assert_eq!(lab.outside(0), lab.hosts[0].address);
}

#[test]
fn a_new_host_reaches_all_containers_soon() {
    let Some(lab) = Lab::start("a_new_host_reaches_all_containers_soon", 4, VXLAN) else { return };
    for host in 0..3 {
        lab.run(host, &[]);
        lab.start_container(host);
    }
    let start = Instant::now();
    lab.run(3, &[]);
    let leased = start.elapsed();
    lab.start_container(3);
    let start = Instant::now();
    for to in 0..3 {
        lab.wait_for("a packet", 3, || lab.send(3, to, 8));
    }
    println!("lease after {leased:?}, all containers {:?} later", start.elapsed());
}

#[test]
fn a_killed_daemon_is_not_noticed_by_containers() {
    let Some(lab) = started("a_killed_daemon_is_not_noticed_by_containers", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    let device = || lab.hosts[0].namespace.ip("-o link show flannel.1");
    let (before, key) = (device(), lab.key(0));
    lab.hosts[0].kill();
    assert!(lab.send(0, 1, 8) && lab.send(1, 0, 8));
    std::fs::write(lab.file(0, "log"), "").unwrap();
    lab.spawn(0, env!("CARGO_BIN_EXE_flanneld"), &["-ip-masq"]);
    let end = Instant::now() + Duration::from_secs(3);
    let mut lost = 0;
    while Instant::now() < end {
        lost += usize::from(!lab.send(0, 1, 8)) + usize::from(!lab.send(1, 0, 8));
    }
    assert_eq!(lost, 0, "{}", lab.log(0));
    lab.wait_for("the daemon", 0, || lab.log(0).contains("Wrote subnet file"));
    assert_eq!((device(), lab.key(0)), (before, key));
}

#[test]
fn a_deleted_lease_is_created_again() {
    let Some(lab) = started("a_deleted_lease_is_created_again", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    let before = lab.lease(0).unwrap();
    lab.store.borrow().delete(&format!("subnets/{}", lab.key(0)));
    lab.wait_for("the lease", 0, || lab.lease(0).is_some());
    let after = lab.lease(0).unwrap();
    assert_eq!(after.value, before.value);
    assert!(after.modified_index > before.modified_index);
    lab.wait_for_all_pairs();
    // A reservation, as an operator writes it: the daemon adds what others need, and no TTL.
    let key = format!("subnets/{}", lab.key(0));
    lab.store.borrow().set(&key, r#"{"PublicIP":"172.30.0.11"}"#, None);
    lab.wait_for("the value", 0, || lab.lease(0).is_some_and(|node| node.value == before.value));
    assert_eq!(lab.lease(0).unwrap().expiration, None);
    lab.wait_for_all_pairs();
}

#[test]
fn a_subnet_of_another_host_is_kept_while_containers_use_it() {
    let Some(lab) = started("a_subnet_of_another_host_is_kept_while_containers_use_it", 2, VXLAN) else {
        return;
    };
    lab.wait_for_all_pairs();
    let key = format!("subnets/{}", lab.key(0));
    let other =
        r#"{"PublicIP":"172.30.0.99","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:99"}}"#;
    lab.store.borrow().set(&key, other, None);
    lab.wait_for("the conflict", 0, || lab.log(0).contains("172.30.0.99 has the subnet now"));
    assert!(std::fs::metadata(lab.file(0, "subnet.env")).is_ok());
    // The other lease ends.
    lab.store.borrow().delete(&key);
    let is_own = |value: String| value.contains("172.30.0.11");
    lab.wait_for("the lease", 0, || lab.lease(0).and_then(|node| node.value).is_some_and(is_own));
    lab.wait_for_all_pairs();

    // No container uses the bridge any more.
    lab.hosts[0].namespace.ip("link del c0");
    lab.store.borrow().set(&key, other, None);
    let ended = || lab.hosts[0].daemon.borrow_mut().as_mut().unwrap().try_wait().unwrap();
    lab.wait_for("the daemon to exit", 0, || ended().is_some());
    assert_eq!(ended().unwrap().code(), Some(1));
    assert!(std::fs::metadata(lab.file(0, "subnet.env")).is_err(), "the next start leases another subnet");
}

#[test]
fn what_others_remove_is_restored() {
    let Some(lab) = started("what_others_remove_is_restored", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    let host = &lab.hosts[0].namespace;
    let base = lab.key(1).replace("-24", "");
    let mac = lab.lease(1).unwrap().value.unwrap().split("VtepMAC\":\"").nth(1).unwrap()[..17].to_owned();
    for change in [
        format!("route del {base}/24"),
        format!("neigh del {base} dev flannel.1"),
        "link del flannel.1".to_owned(),
        "link set flannel.1 address 02:11:22:33:44:55".to_owned(),
        "link set flannel.1 down".to_owned(),
    ] {
        host.ip(&change);
        lab.wait_for(&change, 0, || lab.send(0, 1, 8) && lab.send(1, 0, 8));
    }
    host.shell(&format!("bridge fdb del {mac} dev flannel.1 self"));
    lab.wait_for("the forwarding entry", 0, || lab.send(0, 1, 8));
}

#[test]
fn without_the_store_packets_pass() {
    let Some(lab) = started("without_the_store_packets_pass", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    lab.store.borrow_mut().stop();
    lab.wait_for("the failure", 0, || lab.log(0).contains("routes remain"));
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert!(lab.send(0, 1, 8), "{}", lab.log(0));
    }
    lab.store.borrow_mut().resume();
    let key = format!("subnets/{}", lab.key(1));
    lab.store.borrow().delete(&key);
    lab.wait_for("the lease", 1, || lab.lease(1).is_some());
    lab.wait_for_all_pairs();
}

/// More changes than the store remembers, while the daemon does not read them.
#[test]
fn a_cleared_history_changes_no_route() {
    let Some(lab) = started("a_cleared_history_changes_no_route", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    let record = lab.file(0, "routes");
    let mut monitor = lab.hosts[0].namespace.command("ip");
    let monitor = monitor.args(["-4", "monitor", "route"]).stdout(std::fs::File::create(&record).unwrap());
    let mut monitor = monitor.spawn().unwrap();
    lab.hosts[0].signal(Signal::SIGSTOP);
    for change in 0..1_100 {
        lab.store.borrow().set("subnets/junk", &change.to_string(), None);
    }
    let lease =
        r#"{"PublicIP":"172.30.0.99","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:99"}}"#;
    lab.store.borrow().set("subnets/10.1.250.0-24", lease, None);
    assert!(lab.send(0, 1, 8) && lab.send(1, 0, 8));
    lab.hosts[0].signal(Signal::SIGCONT);
    let routes = || std::fs::read_to_string(&record).unwrap();
    lab.wait_for("the new lease's route", 0, || routes().contains("10.1.250.0/24"));
    assert!(lab.log(0).contains("history was cleared"), "{}", lab.log(0));
    assert!(lab.send(0, 1, 8) && lab.send(1, 0, 8));
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(routes().trim_end(), "10.1.250.0/24 via 10.1.250.0 dev flannel.1 onlink");
}

#[test]
fn routes_without_encapsulation() {
    for (test, backend) in [
        ("routes_without_encapsulation: host-gw", r#"{"Type":"host-gw"}"#),
        ("routes_without_encapsulation: vxlan", r#"{"Type":"vxlan","DirectRouting":true}"#),
    ] {
        let config = format!(r#"{{"Network":"10.1.0.0/16","Backend":{backend}}}"#);
        let Some(lab) = started(test, 2, &config) else { return };
        lab.wait_for_all_pairs();
        let base = lab.key(1).replace("-24", "");
        let route = lab.hosts[0].namespace.ip(&format!("route show {base}/24"));
        assert_eq!(route.trim_end(), format!("{base}/24 via 172.30.0.12 dev eth0"), "{backend}");
    }
}

#[test]
fn a_changed_network_leaves_nothing_of_the_former() {
    let test = "a_changed_network_leaves_nothing_of_the_former";
    for (former, backend) in
        [("host-gw", "host-gw"), ("vxlan", "vxlan"), ("vxlan", "host-gw"), ("udp", "vxlan")]
    {
        let config =
            |network: &str, kind: &str| format!(r#"{{"Network":"{network}","Backend":{{"Type":"{kind}"}}}}"#);
        let Some(lab) = started(test, 2, &config("10.1.0.0/16", former)) else { return };
        lab.wait_for_all_pairs();
        // Of an operator, with subnets of another size.
        let host = &lab.hosts[0].namespace;
        host.ip("route add 10.1.0.0/28 via 172.30.0.12");
        lab.store.borrow().set("config", &config("10.2.0.0/16", backend), None);
        for host in 0..2 {
            lab.hosts[host].kill();
            std::fs::write(lab.file(host, "log"), "").unwrap();
            lab.spawn(host, env!("CARGO_BIN_EXE_flanneld"), &["-ip-masq"]);
            lab.wait_for("the daemon", host, || lab.log(host).contains("Wrote subnet file"));
            lab.stop_container(host);
            lab.start_container(host);
        }
        lab.wait_for_all_pairs();
        let routes = host.ip("route show root 10.1.0.0/16");
        assert_eq!(routes.trim_end(), "10.1.0.0/28 via 172.30.0.12 dev eth0", "{former}, {backend}");
        let devices = host.ip("-o link").matches("flannel").count();
        assert_eq!(devices, usize::from(backend != "host-gw"), "{former}, {backend}");
    }
}

#[test]
fn leases_that_are_none_do_no_harm() {
    let Some(lab) = started("leases_that_are_none_do_no_harm", 2, VXLAN) else { return };
    for (key, value) in
        [("junk", "x"), ("10.1.200.0-24", "{}"), ("10.1.201.0-24", r#"{"PublicIP":"1.2.3.4"}"#)]
    {
        lab.store.borrow().set(&format!("subnets/{key}"), value, None);
    }
    lab.wait_for_all_pairs();
    lab.wait_for("a warning", 0, || {
        lab.log(0).contains("ignoring subnet 10.1.201.0/24: not of backend vxlan")
    });
}

#[test]
fn the_daemon_waits_for_a_configuration() {
    let Some(lab) = Lab::start("the_daemon_waits_for_a_configuration", 1, "") else { return };
    lab.spawn(0, env!("CARGO_BIN_EXE_flanneld"), &[]);
    lab.wait_for("a message", 0, || lab.log(0).contains("/coreos.com/network/config is missing"));
    lab.store.borrow().set("config", "{\"Network\":", None);
    lab.wait_for("a message", 0, || lab.log(0).contains("invalid JSON: EOF while parsing"));
    lab.store.borrow().set("config", VXLAN, None);
    lab.wait_for("the lease", 0, || std::fs::metadata(lab.file(0, "subnet.env")).is_ok());
}

#[test]
fn configurations_that_cannot_work() {
    for (config, message) in [
        (r#"{"Network":"10.1.0.0/16","Backend":{"Type":"gce"}}"#, "unknown backend type: gce"),
        (
            r#"{"Network":"172.16.0.0/12"}"#,
            "Network 172.16.0.0/12 of the configuration overlaps 172.30.0.11/24",
        ),
    ] {
        let Some(lab) = Lab::start("configurations_that_cannot_work", 1, config) else { return };
        let (code, text) = lab.output(0, &["-default-backend=vxlan"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(message), "{text}");
        assert!(lab.store.borrow().get("subnets").is_none(), "nothing is leased");
        assert!(!lab.hosts[0].namespace.ip("link").contains("flannel"), "no device is created");
    }
}

#[test]
fn no_subnet_is_left() {
    let config = r#"{"Network":"10.1.0.0/22","SubnetMin":"10.1.3.0","Backend":{"Type":"vxlan"}}"#;
    let Some(lab) = Lab::start("no_subnet_is_left", 2, config) else { return };
    lab.run(0, &[]);
    let (code, text) = lab.output(1, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("out of subnets"), "{text}");
}

#[test]
fn a_plan_changes_nothing_and_a_teardown_everything() {
    let Some(lab) = started("a_plan_changes_nothing_and_a_teardown_everything", 2, VXLAN) else { return };
    lab.wait_for_all_pairs();
    lab.hosts[0].kill();
    let host = &lab.hosts[0].namespace;
    let (code, plan) = lab.output(0, &["-plan", "-ip-masq"]);
    assert_eq!(code, Some(0), "{plan}");
    let key = lab.key(0);
    assert!(plan.contains(&format!("update {key} {{\"PublicIP\"")), "{plan}");
    assert!(!plan.contains("ip route replace"), "the routes are there: {plan}");
    let (code, text) = lab.output(0, &["-teardown"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!host.ip("link").contains("flannel"), "{text}");
    let before = host.ip("route");
    let (code, plan) = lab.output(0, &["-plan"]);
    assert_eq!(code, Some(0), "{plan}");
    let base = lab.key(1).replace("-24", "");
    assert!(
        plan.contains(&format!("ip route replace {base}/24 via {base} dev $DEV onlink  # lease")),
        "{plan}"
    );
    assert!(!host.ip("link").contains("flannel"));
    assert_eq!(host.ip("route"), before);
}

/// An original flanneld of 0.5 to 0.17, named by a variable, in one network with this one.
#[test]
fn together_with_the_original() {
    let test = "together_with_the_original";
    let Ok(original) = std::env::var("KEELSON_REFERENCE_FLANNELD") else {
        eprintln!("SKIPPED: {test}: KEELSON_REFERENCE_FLANNELD names no flanneld");
        return;
    };
    let backends = [r#"{"Type":"vxlan"}"#, r#"{"Type":"vxlan","DirectRouting":true}"#, r#"{"Type":"udp"}"#];
    for backend in backends {
        let config = format!(r#"{{"Network":"10.1.0.0/16","Backend":{backend}}}"#);
        let Some(lab) = Lab::start(test, 3, &config) else { return };
        lab.run(0, &["-ip-masq"]);
        lab.run_program(1, &original, &["-ip-masq"]);
        lab.run(2, &[]);
        (0..3).for_each(|host| lab.start_container(host));
        lab.wait_for_all_pairs();
        // The subnet of the original's host is taken over, and back.
        let key = lab.key(1);
        lab.hosts[1].kill();
        lab.run(1, &[]);
        assert_eq!(lab.key(1), key);
        lab.wait_for_all_pairs();
    }
}
