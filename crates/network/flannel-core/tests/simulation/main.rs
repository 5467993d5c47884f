//! Hundreds of hosts over etcd's state machine: reads that are old when the write follows, daemons that stop anywhere,
//! leases that end, are removed, reserved or overwritten.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod host;
mod store;

use std::{net::Ipv4Addr, time::Duration};

use flannel_core::{LEASE_TTL, LeaseAttributes, NetworkConfig, OwnLease};
use ipnet::Ipv4Net;

use crate::{
    host::{Daemon, Host},
    store::Network,
};

/// No two leases have an address in common, and each host has one at most.
fn check_leases(network: &Network, config: &NetworkConfig) {
    let (leases, _) = network.leases();
    for pair in leases.windows(2) {
        let [one, next] = pair else { unreachable!() };
        assert!(!one.subnet.contains(&next.subnet.addr()), "{one:?} {next:?}");
        assert!(!next.subnet.contains(&one.subnet.addr()), "{one:?} {next:?}");
    }
    for lease in &leases {
        assert!(config.allows(lease.subnet), "{lease:?}");
    }
}

/// All hosts start in the same moment: everyone reads before anyone writes, in every round.
fn join_together(hosts: usize, config: &str) -> f64 {
    let config = NetworkConfig::parse(config).unwrap();
    let mut random = fastrand::Rng::with_seed(hosts as u64);
    let mut network = Network::new();
    let mut all: Vec<Host> = (0..hosts).map(Host::new).collect();
    all.iter_mut().for_each(|host| host.start(&network));
    let mut rounds = 0;
    while all.iter().any(|host| host.own().is_none()) {
        rounds += 1;
        assert!(rounds <= 10, "{rounds} rounds: a host would give up");
        random.shuffle(&mut all);
        let reads = network.leases().0;
        for host in &mut all {
            if let Daemon::Joining { leases, .. } = &mut host.daemon {
                leases.clone_from(&reads);
            }
            host.join(&mut network, &config, &mut random).unwrap();
        }
    }
    check_leases(&network, &config);
    assert_eq!(network.leases().0.len(), hosts);
    network.writes as f64 / hosts as f64
}

#[test]
fn writes_per_host_do_not_grow_with_the_number_of_hosts() {
    for (hosts, limit) in [(10, 2.0), (100, 3.0), (1000, 3.0)] {
        let writes = join_together(hosts, r#"{"Network":"10.0.0.0/12"}"#);
        println!("{hosts} hosts that start together: {writes:.2} writes per host");
        assert!(writes <= limit, "{hosts} hosts: {writes} writes per host");
    }
    // As many subnets as hosts, almost.
    let writes = join_together(1000, r#"{"Network":"10.0.0.0/14"}"#);
    println!("1000 hosts in 1023 subnets: {writes:.2} writes per host");
    assert!(writes <= 4.0, "{writes} writes per host");
}

#[test]
fn the_last_subnet_goes_to_one_of_two_hosts() {
    let config = NetworkConfig::parse(r#"{"Network":"10.0.0.0/22","SubnetMin":"10.0.3.0"}"#).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut network = Network::new();
    let (mut one, mut two) = (Host::new(1), Host::new(2));
    one.start(&network);
    two.start(&network);
    one.join(&mut network, &config, &mut random).unwrap();
    two.join(&mut network, &config, &mut random).unwrap();
    assert!(one.own().is_some() && two.own().is_none());
    let error = two.join(&mut network, &config, &mut random).unwrap_err();
    assert!(error.to_string().starts_with("out of subnets"), "{error}");
    // The other host is gone for a day.
    network.advance(LEASE_TTL);
    two.start(&network);
    two.join(&mut network, &config, &mut random).unwrap();
    assert!(two.own().is_some());
}

/// A step of one host, or of an operator.
fn step(hosts: &mut [Host], network: &mut Network, config: &NetworkConfig, random: &mut fastrand::Rng) {
    let number = random.usize(..hosts.len());
    let host = &mut hosts[number];
    match random.u8(..100) {
        0..30 => match host.daemon {
            Daemon::Stopped => host.start(network),
            Daemon::Joining { .. } => drop(host.join(network, config, random)),
            Daemon::Running { .. } => host.reconcile(config),
        },
        30..70 => {
            host.take_event(network);
        }
        70..85 => {
            host.keep_lease(network);
        }
        85..88 => host.daemon = Daemon::Stopped,
        88..90 => host.reboot(),
        90 => {
            // DHCP gives the host another address.
            host.daemon = Daemon::Stopped;
            host.public_ip = Ipv4Addr::new(172, 16, random.u8(..), random.u8(..));
        }
        91 => network.advance(Duration::from_secs(random.u64(..40 * 3600))),
        92..95 => network.advance(Duration::from_secs(random.u64(..3600))),
        other => operate(other, network, config, random),
    }
}

fn operate(what: u8, network: &mut Network, config: &NetworkConfig, random: &mut fastrand::Rng) {
    let (leases, _) = network.leases();
    let Some(lease) = random.choice(&leases) else { return };
    match what {
        95 => {
            network.delete(lease.subnet, None);
        }
        96 => {
            let reservation = LeaseAttributes::plain(lease.attributes.public_ip, "");
            network.put(lease.subnet, &reservation.to_json(), None, None, None);
        }
        97 => {
            let stranger = LeaseAttributes::plain(Ipv4Addr::new(172, 31, 0, random.u8(..)), "vxlan");
            let subnet = random.choice(config.subnets().collect::<Vec<Ipv4Net>>()).unwrap();
            network.put(subnet, &stranger.to_json(), None, None, Some(LEASE_TTL));
        }
        98 => network.put_junk("junk", "{}"),
        99 if random.bool() => network.put_junk(&flannel_core::subnet_key(lease.subnet), "{}"),
        _ => network.put_junk("10.0.0.7-24", r#"{"PublicIP":"192.168.0.1"}"#),
    }
}

/// Everyone takes all events and keeps the own lease, until nothing is left to do.
fn settle(hosts: &mut [Host], network: &mut Network, config: &NetworkConfig) {
    for round in 0.. {
        let mut active = false;
        for host in hosts.iter_mut() {
            while host.take_event(network) {
                active = true;
            }
            active |= host.keep_lease(network);
        }
        if !active {
            break;
        }
        assert!(round < 50, "the hosts do not settle");
    }
    hosts.iter_mut().for_each(|host| host.reconcile(config));
}

fn check_hosts(hosts: &[Host], network: &Network) {
    let (leases, _) = network.leases();
    for host in hosts {
        let Some(own) = host.own() else { continue };
        let subnet = own.lease().subnet;
        let lease = leases.iter().find(|lease| lease.subnet == subnet).expect("a running host has a lease");
        match own.conflict() {
            Some(holder) => assert_eq!(lease.attributes.public_ip, holder),
            None => assert_eq!(lease.attributes, host.attributes(), "its value is the host's"),
        }
        for other in hosts.iter().filter(|other| other.public_ip != host.public_ip) {
            let Some(lease) = other.own().filter(|own| own.conflict().is_none()).map(OwnLease::lease) else {
                continue;
            };
            if lease.subnet == subnet {
                continue;
            }
            let mac = host.kernel.neighbors.get(&lease.subnet.addr());
            assert_eq!(mac, Some(&other.mac), "{} reaches {}", host.public_ip, lease.subnet);
            assert_eq!(host.kernel.forwarding.get(&other.mac), Some(&other.public_ip));
        }
    }
}

#[test]
fn every_history_ends_with_all_hosts_reachable() {
    let config = NetworkConfig::parse(r#"{"Network":"10.0.0.0/18"}"#).unwrap();
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut network = Network::new();
        let mut hosts: Vec<Host> = (0..20).map(Host::new).collect();
        for _ in 0..8 {
            for _ in 0..250 {
                step(&mut hosts, &mut network, &config, &mut random);
                check_leases(&network, &config);
            }
            settle(&mut hosts, &mut network, &config);
            check_hosts(&hosts, &network);
        }
    }
}

#[test]
fn a_host_keeps_its_subnet() {
    let config = NetworkConfig::parse(r#"{"Network":"10.0.0.0/16"}"#).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut network = Network::new();
    let mut host = Host::new(1);
    host.start(&network);
    host.join(&mut network, &config, &mut random).unwrap();
    let subnet = host.own().unwrap().lease().subnet;
    let same = |host: &Host| assert_eq!(host.own().unwrap().lease().subnet, subnet);

    // The machine boots: its address is in the lease.
    host.reboot();
    host.start(&network);
    host.join(&mut network, &config, &mut random).unwrap();
    same(&host);
    // Its address changed, and the daemon was restarted.
    host.public_ip = Ipv4Addr::new(192, 168, 77, 77);
    host.start(&network);
    host.join(&mut network, &config, &mut random).unwrap();
    same(&host);
    assert_eq!(network.leases().0.len(), 1);
    // The store was away for 26 h.
    network.advance(Duration::from_secs(26 * 3600));
    assert!(network.leases().0.is_empty());
    settle(std::slice::from_mut(&mut host), &mut network, &config);
    same(&host);
    assert_eq!(network.leases().0.len(), 1);
}
