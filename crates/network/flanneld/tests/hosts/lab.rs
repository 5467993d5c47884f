//! Hosts on one link, each with a daemon and a container.

use std::{
    cell::RefCell,
    fs::File,
    io::ErrorKind,
    net::UdpSocket,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use etcd_client::Node;
use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{setsockopt, sockopt::Ipv4RecvErr},
    },
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{namespace::Namespace, store::Store};

/// Much longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
pub const STORE: &str = "172.30.0.1";
/// A container's port.
const PORT: u16 = 7000;

pub struct Lab {
    pub hosts: Vec<Host>,
    pub store: RefCell<Store>,
    pub link: Namespace,
    directory: TempDir,
}

pub struct Host {
    pub namespace: Namespace,
    /// The public address.
    pub address: String,
    pub daemon: RefCell<Option<Child>>,
    container: RefCell<Option<Container>>,
}

struct Container {
    socket: UdpSocket,
    address: String,
    // Last: the socket is in it.
    namespace: Namespace,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Host {
    /// Ends the daemon as a power cut would.
    pub fn kill(&self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    pub fn signal(&self, signal: Signal) {
        let daemon = self.daemon.borrow().as_ref().unwrap().id();
        kill(Pid::from_raw(daemon.try_into().unwrap()), signal).unwrap();
    }
}

impl Lab {
    /// None if the host allows no network namespaces.
    pub fn start(test: &str, hosts: u8, config: &str) -> Option<Lab> {
        let Some(link) = Namespace::create("link") else {
            eprintln!("SKIPPED: {test}: no network namespaces here");
            return None;
        };
        link.ip("link add br0 type bridge");
        link.ip(&format!("address add {STORE}/24 dev br0"));
        link.ip("link set br0 up");
        let store = RefCell::new(Store::start(&link, STORE));
        let directory = tempfile::tempdir().unwrap();
        let mut lab = Lab { hosts: Vec::new(), store, link, directory };
        for number in 1..=hosts {
            lab.add_host(number);
        }
        if !config.is_empty() {
            lab.store.borrow().set("config", config, None);
        }
        Some(lab)
    }

    fn add_host(&mut self, number: u8) {
        let namespace = Namespace::create(&format!("h{number}")).unwrap();
        let address = format!("172.30.0.{}", 10 + number);
        self.link.ip(&format!("link add port{number} type veth peer name eth0 netns {}", namespace.name));
        self.link.ip(&format!("link set port{number} master br0 up"));
        namespace.ip(&format!("address add {address}/24 dev eth0"));
        namespace.ip("link set eth0 up");
        namespace.ip(&format!("route add default via {STORE}"));
        // What Docker does on a node.
        namespace.shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
        self.hosts.push(Host {
            namespace,
            address,
            daemon: RefCell::new(None),
            container: RefCell::new(None),
        });
    }

    /// A file of the host with this index.
    pub fn file(&self, host: usize, name: &str) -> String {
        self.directory.path().join(format!("{host}-{name}")).to_str().unwrap().to_owned()
    }

    /// The daemon's command line.
    pub fn flanneld(&self, host: usize, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.hosts[host].namespace.command(program);
        command
            .arg(format!("-etcd-endpoints={}", self.store.borrow().url))
            .arg(format!("-subnet-file={}", self.file(host, "subnet.env")))
            .args(arguments)
            .env("WIREGUARD_KEY_FILE", self.file(host, "wgkey"));
        command
    }

    /// Starts a daemon, and waits for its subnet file.
    pub fn run(&self, host: usize, arguments: &[&str]) {
        self.run_program(host, env!("CARGO_BIN_EXE_flanneld"), arguments);
    }

    pub fn run_program(&self, host: usize, program: &str, arguments: &[&str]) {
        self.spawn(host, program, arguments);
        self.wait_for(&format!("the subnet file of host {host}"), host, || {
            std::fs::metadata(self.file(host, "subnet.env")).is_ok()
        });
    }

    pub fn spawn(&self, host: usize, program: &str, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.file(host, "log")).unwrap();
        let mut command = self.flanneld(host, program, arguments);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        assert!(self.hosts[host].daemon.replace(Some(child)).is_none(), "one daemon per host");
    }

    pub fn log(&self, host: usize) -> String {
        std::fs::read_to_string(self.file(host, "log")).unwrap_or_default()
    }

    /// Waits for a condition; a failure shows the daemon's log.
    pub fn wait_for(&self, what: &str, host: usize, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}; log:\n{}", self.log(host));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A variable of the subnet file.
    pub fn variable(&self, host: usize, name: &str) -> String {
        let file = std::fs::read_to_string(self.file(host, "subnet.env")).unwrap();
        let value = file.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
        value.to_owned()
    }

    /// The lease's key: `10.1.34.0-24`.
    pub fn key(&self, host: usize) -> String {
        self.variable(host, "FLANNEL_SUBNET").replace(".1/", ".0-")
    }

    pub fn lease(&self, host: usize) -> Option<Node> {
        self.store.borrow().get(&format!("subnets/{}", self.key(host)))
    }

    /// Starts a container on a bridge with the host's subnet.
    pub fn start_container(&self, host: usize) {
        let (subnet, mtu) = (self.variable(host, "FLANNEL_SUBNET"), self.variable(host, "FLANNEL_MTU"));
        let bridge = subnet.split('/').next().unwrap();
        let address = format!("{}.2", bridge.rsplit_once('.').unwrap().0);
        let (outer, inner) = (&self.hosts[host].namespace, Namespace::create("c").unwrap());
        outer.ip(&format!("link add bridge0 mtu {mtu} type bridge"));
        outer.ip(&format!("address add {subnet} dev bridge0"));
        outer.ip("link set bridge0 up");
        outer.ip(&format!("link add c0 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}", inner.name));
        outer.ip("link set c0 master bridge0 up");
        inner.ip(&format!("address add {address}/24 dev eth0"));
        inner.ip("link set eth0 up");
        inner.ip(&format!("route add default via {bridge}"));
        let socket = inner.socket(&format!("0.0.0.0:{PORT}"));
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        self.hosts[host].container.replace(Some(Container { socket, address, namespace: inner }));
    }

    /// Removes the container and its bridge.
    pub fn stop_container(&self, host: usize) {
        // The kernel removes a namespace and what is in it some time after its last use.
        self.hosts[host].namespace.ip("link delete c0");
        self.hosts[host].container.replace(None);
        self.hosts[host].namespace.ip("link delete bridge0");
    }

    /// Sends a datagram of this size from one container to another; true if it arrives, with the sender's own address.
    pub fn send(&self, from: usize, to: usize, bytes: usize) -> bool {
        let (from, to) = (self.hosts[from].container.borrow(), self.hosts[to].container.borrow());
        let (from, to) = (from.as_ref().unwrap(), to.as_ref().unwrap());
        let marker: u64 = fastrand::u64(..);
        let mut datagram = vec![0; bytes];
        datagram[..8].copy_from_slice(&marker.to_be_bytes());
        if from.socket.send_to(&datagram, (to.address.as_str(), PORT)).is_err() {
            return false;
        }
        let mut buffer = [0; 2048];
        while let Ok((length, sender)) = to.socket.recv_from(&mut buffer) {
            if buffer[..length] == datagram {
                assert_eq!(
                    sender.to_string(),
                    format!("{}:{PORT}", from.address),
                    "the source is not translated"
                );
                return true;
            }
        }
        false
    }

    /// Runs `action` on a thread in a container.
    pub fn in_container<T: Send + 'static>(
        &self,
        host: usize,
        action: impl FnOnce(&str) -> T + Send + 'static,
    ) -> T {
        let container = self.hosts[host].container.borrow();
        let container = container.as_ref().unwrap();
        let address = container.address.clone();
        container.namespace.run(move || action(&address))
    }

    /// Waits until a container's packet to this address is answered by ICMP: no host has it.
    pub fn wait_until_unreachable(&self, from: usize, address: &str) {
        let container = self.hosts[from].container.borrow();
        let socket = container.as_ref().unwrap().namespace.socket("0.0.0.0:0");
        socket.connect((address, PORT)).unwrap();
        // The kernel reports the answer at the next call.
        setsockopt(&socket, Ipv4RecvErr, &true).unwrap();
        self.wait_for(&format!("an answer for {address}"), from, || {
            socket.send(b"to nobody").is_err_and(|error| error.kind() == ErrorKind::NetworkUnreachable)
        });
    }

    /// What the container receives within a moment that ends with this payload: its sender.
    pub fn received(&self, host: usize, payload: &[u8]) -> Option<String> {
        let container = self.hosts[host].container.borrow();
        let mut buffer = [0; 2048];
        while let Ok((length, sender)) = container.as_ref().unwrap().socket.recv_from(&mut buffer) {
            if buffer[..length] == *payload {
                return Some(sender.to_string());
            }
        }
        None
    }

    /// Sends a datagram from the container, to any address.
    pub fn send_to(&self, host: usize, payload: &[u8], address: &str) {
        let container = self.hosts[host].container.borrow();
        container.as_ref().unwrap().socket.send_to(payload, address).unwrap();
    }

    /// Waits until each container reaches each other one.
    pub fn wait_for_all_pairs(&self) {
        self.wait_for_pairs_of(self.hosts.len());
    }

    /// Waits until each container of the first `hosts` hosts reaches each other one.
    pub fn wait_for_pairs_of(&self, hosts: usize) {
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                self.wait_for(&format!("host {from} reaches {to}"), from, || self.send(from, to, 8));
            }
        }
    }

    /// What the container's socket last received from a host outside of the network: the address that it saw.
    pub fn outside(&self, host: usize) -> String {
        let listener = self.link.socket(&format!("{STORE}:{PORT}"));
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let container = self.hosts[host].container.borrow();
        container.as_ref().unwrap().socket.send_to(b"outside", (STORE, PORT)).unwrap();
        let (_, sender) = listener.recv_from(&mut [0; 16]).unwrap();
        sender.ip().to_string()
    }

    /// Runs the program to its end: exit code and all output.
    pub fn output(&self, host: usize, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.flanneld(host, env!("CARGO_BIN_EXE_flanneld"), arguments);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}
