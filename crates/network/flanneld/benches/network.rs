//! Containers of two hosts: throughput and short connections over flanneld's network, beside the same vxlan devices made
//! with `ip` and `bridge`; a new host's first packets; an idle daemon.
//!
//! Hosts are network namespaces. `cargo xtask bench flannel` parses the `figure` lines.

#![allow(clippy::unwrap_used, reason = "a measurement stops at what it did not expect")]

#[path = "../tests/hosts/connections.rs"]
mod connections;
#[path = "../tests/hosts/lab.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod lab;
#[path = "../tests/hosts/namespace.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod namespace;
#[path = "../tests/hosts/store.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod store;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lab::Lab;

const CONFIG: &str = r#"{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}"#;
/// As the unit starts it.
const MASQUERADE: [&str; 1] = ["-ip-masq"];
/// A multiple of the number of networks, which are measured in turn.
const ROUNDS: usize = 9;
const CONNECTION_ROUNDS: usize = 3;
const THROUGHPUT_TIME: Duration = Duration::from_secs(2);
const CHUNK: usize = 128 << 10;
const CONNECTIONS: usize = 10_000;
const CLIENTS: usize = 8;
const NEW_HOSTS: usize = 5;
const IDLE: Duration = Duration::from_secs(60);
/// The daemon's first renewals and comparisons are over.
const SETTLE: Duration = Duration::from_secs(5);

fn main() {
    let Some(plain) = two_hosts(&[]) else { return };
    let networks = [plain, two_hosts(&MASQUERADE).unwrap(), two_hosts_without_flanneld()];
    traffic(&networks);
    idle(&networks[1]);
    drop(networks);
    new_hosts();
}

fn figure(what: &str, target: &str, measured: &str) {
    println!("figure\t{what}\t{target}\t{measured}");
}

fn two_hosts(arguments: &[&str]) -> Option<Lab> {
    let lab = Lab::start("network", 2, CONFIG)?;
    (0..2).for_each(|host| start(&lab, host, arguments));
    lab.wait_for_all_pairs();
    Some(lab)
}

fn start(lab: &Lab, host: usize, arguments: &[&str]) {
    lab.run(host, arguments);
    lab.start_container(host);
}

/// The devices, addresses and entries of [`two_hosts`], without a daemon.
fn two_hosts_without_flanneld() -> Lab {
    let lab = Lab::start("kernel", 2, "").unwrap();
    let mac = |host: usize| format!("02:00:00:00:00:0{}", host + 1);
    let subnet = |host: usize| format!("10.1.{}", host + 1);
    for host in 0..2 {
        let (at, other) = (&lab.hosts[host], 1 - host);
        let (address, remote) = (&at.address, &lab.hosts[other].address);
        at.namespace.shell(&format!(
            "ip link add flannel.1 mtu 1450 address {} type vxlan id 1 dev eth0 local {address} dstport 8472 nolearning\n\
             ip address add {}.0/32 dev flannel.1\n\
             ip link set flannel.1 up\n\
             bridge fdb append {mac} dev flannel.1 dst {remote}\n\
             ip neighbor add {subnet}.0 lladdr {mac} dev flannel.1 nud permanent\n\
             ip route add {subnet}.0/24 via {subnet}.0 dev flannel.1 onlink",
            mac(host),
            subnet(host),
            mac = mac(other),
            subnet = subnet(other),
        ));
        let variables = format!("FLANNEL_SUBNET={}.1/24\nFLANNEL_MTU=1450\n", subnet(host));
        fs::write(lab.file(host, "subnet.env"), variables).unwrap();
        lab.start_container(host);
    }
    lab.wait_for_all_pairs();
    lab
}

/// flanneld's networks and the one without it in turn; medians of the ratios within a round.
fn traffic(networks: &[Lab; 3]) {
    let mut throughputs = [const { Vec::new() }; 3];
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        // Each is first as often as second and last.
        for which in (0..3).map(|place| (place + round) % 3) {
            throughputs[which].push(throughput(&networks[which]));
            if round < CONNECTION_ROUNDS {
                rates[which].push(connect(&networks[which]));
            }
        }
    }
    let compare = |of: &[Vec<f64>; 3], which: usize, unit: &str| {
        let ratio = median(of[which].iter().zip(&of[2]).map(|(ours, kernel)| ours / kernel));
        let [ours, kernel] = [which, 2].map(|which| median(of[which].iter().copied()));
        format!("{ratio:.3} times ({ours:.2} against {kernel:.2} {unit})")
    };
    for (which, flag, target) in [(0, "", ">= 0.98 times"), (1, ", -ip-masq", "")] {
        figure(
            &format!(
                "throughput between containers of two hosts{flag}, beside the same devices by `ip` and `bridge`"
            ),
            target,
            &compare(&throughputs, which, "Gbit/s"),
        );
        figure(
            &format!("{CONNECTIONS} connections, {CLIENTS} at a time, all answered{flag}, beside the same"),
            "",
            &compare(&rates, which, "per second"),
        );
    }
}

/// Gbit/s from container 0 to container 1.
fn throughput(lab: &Lab) -> f64 {
    let listener = connections::listen(lab);
    let address = connections::address(lab);
    let mut sender = lab.in_container(0, move |_| TcpStream::connect(address).unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    let receiving = std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        let (mut bytes, begin) = (0, Instant::now());
        loop {
            match receiver.read(&mut buffer).unwrap() {
                0 => return bytes as f64 * 8.0 / 1e9 / begin.elapsed().as_secs_f64(),
                read => bytes += read,
            }
        }
    });
    let (chunk, begin) = (vec![0; CHUNK], Instant::now());
    while begin.elapsed() < THROUGHPUT_TIME {
        sender.write_all(&chunk).unwrap();
    }
    drop(sender);
    receiving.join().unwrap()
}

/// Connections per second, each with a request and an answer.
fn connect(lab: &Lab) -> f64 {
    CONNECTIONS as f64 / connections::exchange(lab, CONNECTIONS, CLIENTS).as_secs_f64()
}

/// Memory, and processor time while nothing changes.
fn idle(lab: &Lab) {
    let pid = lab.hosts[0].daemon.borrow().as_ref().unwrap().id();
    std::thread::sleep(SETTLE);
    let (before, begin) = (processor_seconds(pid), Instant::now());
    std::thread::sleep(IDLE);
    let share = (processor_seconds(pid) - before) / begin.elapsed().as_secs_f64();
    figure(
        &format!("an idle flanneld, {} s: processor", IDLE.as_secs()),
        "<= 0.1 % of a core",
        &format!("{:.3} %", share * 100.0),
    );
    let [now, peak] = ["VmRSS:", "VmHWM:"].map(|name| memory(pid, name));
    figure(
        "an idle flanneld: resident memory",
        "<= 8 MiB",
        &format!("{now:.1} MiB, at most {peak:.1} since its start"),
    );
}

/// Processor time of all threads, which the kernel counts in nanoseconds.
fn processor_seconds(pid: u32) -> f64 {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        match fs::read_to_string(thread.unwrap().path().join("schedstat")) {
            Ok(text) => nanoseconds += text.split(' ').next().unwrap().parse::<f64>().unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "a thread ended"),
        }
    }
    nanoseconds / 1e9
}

/// MiB.
fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

/// From the start of a fourth host's daemon until its container has exchanged packets with the other three.
fn new_hosts() {
    let times = (0..NEW_HOSTS).map(|_| {
        let lab = Lab::start("new", 4, CONFIG).unwrap();
        (0..3).for_each(|host| start(&lab, host, &MASQUERADE));
        lab.wait_for_pairs_of(3);
        let begin = Instant::now();
        start(&lab, 3, &MASQUERADE);
        lab.wait_for_all_pairs();
        begin.elapsed().as_secs_f64()
    });
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    figure(
        "a new host's container exchanges packets with those of three hosts, after its flanneld starts",
        "<= 1 s",
        &format!(
            "{:.2} s (median of {NEW_HOSTS}, at most {:.2})",
            times[NEW_HOSTS / 2],
            times[NEW_HOSTS - 1]
        ),
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
