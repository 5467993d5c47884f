use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use flannel_core::{Rule, forward_rules, masquerade_rules};
use flannel_network::{Firewall, FirewallOutcome};
use ipnet::Ipv4Net;

use crate::lab::{Lab, Namespace, address, has, skipped, test};

fn rules(network: &str) -> Vec<Rule> {
    let network: Ipv4Net = network.parse().unwrap();
    let subnet = Ipv4Net::new(network.network(), 24).unwrap();
    masquerade_rules(network, subnet).into_iter().chain(forward_rules(network)).collect()
}

fn firewall(lab: &Lab) -> Firewall {
    lab.one.run(|| Firewall::open().unwrap())
}

async fn check(firewall: &Firewall, rules: &[Rule], expected: FirewallOutcome) {
    assert_eq!(firewall.ensure_rules(rules).await.unwrap(), expected);
}

const TABLE: &str = "\
table ip keelson-flannel {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return
		ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/24 return
		ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade fully-random
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.1.0.0/16 accept
		ip daddr 10.1.0.0/16 accept
	}
}
";

#[test]
fn the_table() {
    test("the_table", async |lab| {
        let firewall = firewall(lab);
        firewall.remove_rules().await.unwrap();
        let first = rules("10.1.0.0/16");
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        if !has("nft", "--version") {
            return skipped("the_table", "needs `nft`");
        }
        assert_eq!(lab.one.output("nft", "list ruleset"), TABLE);
        for change in [
            "add rule ip keelson-flannel forward drop",
            "flush chain ip keelson-flannel postrouting",
            "insert rule ip keelson-flannel forward ip saddr 10.1.0.0/16 accept",
            "add chain ip keelson-flannel another",
            "delete table ip keelson-flannel",
            "chain ip keelson-flannel forward { policy drop; }",
        ] {
            lab.one.output("nft", change);
            check(&firewall, &first, FirewallOutcome::Ensured).await;
            assert_eq!(lab.one.output("nft", "list ruleset"), TABLE, "{change}");
            check(&firewall, &first, FirewallOutcome::Unchanged).await;
        }
        // Another network, and less rules.
        let other = rules("10.2.0.0/15");
        check(&firewall, &other, FirewallOutcome::Ensured).await;
        assert!(!lab.one.output("nft", "list ruleset").contains("10.1."));
        check(&firewall, &other[4..], FirewallOutcome::Ensured).await;
        let listed = lab.one.output("nft", "list ruleset");
        assert!(
            !listed.contains("postrouting") && listed.contains("ip saddr 10.2.0.0/15 accept"),
            "{listed}"
        );
        check(&firewall, &other[4..], FirewallOutcome::Unchanged).await;
        firewall.remove_rules().await.unwrap();
        firewall.remove_rules().await.unwrap();
        assert_eq!(lab.one.output("nft", "list ruleset"), "");
    });
}

#[test]
fn packets_leave_with_the_hosts_address() {
    test("packets_leave_with_the_hosts_address", async |lab| {
        lab.one.ip("address add 10.1.0.1/32 dev lo");
        lab.two.ip("route add 10.1.0.0/24 via 192.168.77.1");
        let receiver = lab.two.run(|| UdpSocket::bind((address(2), 0)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let source = || {
            let sender = lab.one.run(|| UdpSocket::bind((Ipv4Addr::new(10, 1, 0, 1), 0)).unwrap());
            sender.send_to(b"packet", receiver.local_addr().unwrap()).unwrap();
            receiver.recv_from(&mut [0; 10]).unwrap().1.ip()
        };
        assert_eq!(source(), Ipv4Addr::new(10, 1, 0, 1));
        let firewall = firewall(lab);
        check(&firewall, &rules("10.1.0.0/16"), FirewallOutcome::Ensured).await;
        assert_eq!(source(), address(1));
        firewall.remove_rules().await.unwrap();
        assert_eq!(source(), Ipv4Addr::new(10, 1, 0, 1));
    });
}

/// The rules of a chain of iptables, as it lists them.
fn iptables(lab: &Lab, chain: &str) -> String {
    lab.one.output("iptables-nft", &format!("-S {chain}"))
}

const ACCEPTS: [&str; 2] = ["-s 10.1.0.0/16", "-d 10.1.0.0/16"];

fn assert_accepts(listed: &str) {
    let accepts = listed.lines().filter(|line| line.contains("10.1.0.0/16") && line.ends_with("-j ACCEPT"));
    assert_eq!(accepts.count(), 2, "{listed}");
    for accept in ACCEPTS {
        assert!(listed.contains(accept), "{listed}");
    }
}

#[test]
fn dockers_policy() {
    if !has("iptables-nft", "--version") {
        return skipped("dockers_policy", "needs `iptables-nft`");
    }
    test("dockers_policy", async |lab| {
        let firewall = firewall(lab);
        let first = rules("10.1.0.0/16");
        // flanneld first: there is nothing of Docker yet.
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        lab.one.output("iptables-nft", "-A FORWARD -j ACCEPT -i docker0");
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        lab.one.output("iptables-nft", "-P FORWARD DROP");
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        let listed = iptables(lab, "FORWARD");
        assert_accepts(&listed);
        assert!(listed.trim_end().ends_with("-A FORWARD -i docker0 -j ACCEPT"), "{listed}");
        // Docker's chain appears.
        for command in ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER"] {
            lab.one.output("iptables-nft", command);
        }
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        assert_accepts(&iptables(lab, "DOCKER-USER"));
        assert!(iptables(lab, "DOCKER-USER").trim_end().ends_with("-A DOCKER-USER -j RETURN"));
        assert!(!iptables(lab, "FORWARD").contains("10.1.0.0/16"));
        // Docker flushes it; an operator has one of the rules.
        lab.one.output("iptables-nft", "-F DOCKER-USER");
        lab.one.output("iptables-nft", "-A DOCKER-USER -s 10.1.0.0/16 -j ACCEPT");
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        assert_accepts(&iptables(lab, "DOCKER-USER"));
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        // Another network.
        let other = rules("10.2.0.0/16");
        check(&firewall, &other, FirewallOutcome::Ensured).await;
        let listed = iptables(lab, "DOCKER-USER");
        assert!(!listed.contains("-d 10.1.0.0/16") && listed.contains("-d 10.2.0.0/16"), "{listed}");
        firewall.remove_rules().await.unwrap();
        let listed = iptables(lab, "DOCKER-USER");
        assert_eq!(listed, "-N DOCKER-USER\n-A DOCKER-USER -s 10.1.0.0/16 -j ACCEPT\n");
    });
}

#[test]
fn forwarded_packets_pass_dockers_policy() {
    if !has("iptables-nft", "--version") {
        return skipped("forwarded_packets_pass_dockers_policy", "needs `iptables-nft`");
    }
    test("forwarded_packets_pass_dockers_policy", async |lab| {
        let container = Namespace::create().unwrap();
        lab.one.connect("c0", &container);
        lab.one.ip("address add 10.1.0.1/24 dev c0");
        lab.one.ip("link set c0 up");
        lab.one.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        container.ip("address add 10.1.0.2/24 dev c0");
        container.ip("link set c0 up");
        container.ip("route add default via 10.1.0.1");
        lab.two.ip("route add 10.1.0.0/24 via 192.168.77.1");
        let receiver = container.run(|| UdpSocket::bind(("10.1.0.2", 7)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let sender = lab.two.run(|| UdpSocket::bind((address(2), 0)).unwrap());
        // Packets have numbers: an earlier one may arrive late.
        let number = std::cell::Cell::new(0_u16);
        let arrives = |attempts| {
            let first = number.get() + 1;
            (0..attempts).any(|_| {
                number.set(number.get() + 1);
                sender.send_to(&number.get().to_be_bytes(), "10.1.0.2:7").unwrap();
                let mut received = [0; 2];
                let mut receive = || receiver.recv(&mut received).map(|_| u16::from_be_bytes(received));
                std::iter::from_fn(|| receive().ok()).any(|received| received >= first)
            })
        };
        assert!(arrives(50));
        lab.one.output("iptables-nft", "-P FORWARD DROP");
        assert!(!arrives(5));
        let firewall = firewall(lab);
        let rules = rules("10.1.0.0/16");
        check(&firewall, &rules, FirewallOutcome::Ensured).await;
        assert!(arrives(50));
        // An accept of flannel's table alone would not suffice.
        lab.one.output("iptables-nft", "-F FORWARD");
        assert!(!arrives(5));
        check(&firewall, &rules, FirewallOutcome::Ensured).await;
        assert!(arrives(50));
    });
}

#[test]
fn rules_that_iptables_restored() {
    if !has("iptables-nft", "--version") {
        return skipped("rules_that_iptables_restored", "needs `iptables-nft`");
    }
    test("rules_that_iptables_restored", async |lab| {
        let firewall = firewall(lab);
        let first = rules("10.1.0.0/16");
        lab.one.output("iptables-nft", "-P FORWARD DROP");
        check(&firewall, &first, FirewallOutcome::Ensured).await;
        lab.one.output("sh", "-c iptables-nft-save>/dev/shm/saved-$$;iptables-nft-restore</dev/shm/saved-$$;rm\t/dev/shm/saved-$$");
        check(&firewall, &first, FirewallOutcome::Unchanged).await;
        firewall.remove_rules().await.unwrap();
        assert_eq!(iptables(lab, "FORWARD"), "-P FORWARD DROP\n");
    });
}
