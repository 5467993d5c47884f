//! Two network namespaces that a cable connects, and a DHCP client in one of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use machines::network::namespace;
use netboot::dhcp::packet::{MessageType, Operation, Packet, option};
use nix::sys::socket::sockopt::{BindToDevice, Broadcast};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};

pub const SERVER: &str = "10.9.0.1";
/// An answer that does not arrive within this time is none.
const PATIENCE: Duration = Duration::from_millis(1500);
const ATTEMPTS: u32 = 8;
static TRANSACTION: AtomicU32 = AtomicU32::new(1);

/// `k0` in the server's namespace has 10.9.0.1/24; `k1` in the client's has no address yet.
pub struct Network {
    pub server: OwnedFd,
    pub client: OwnedFd,
    pub client_address: Ipv4Addr,
    /// Holds the client's namespace, for `ip link set netns`.
    holder: Child,
}

impl Network {
    pub fn create() -> Self {
        let (server, client) = (namespace::create().unwrap(), namespace::create().unwrap());
        let mut holder = Command::new("sleep");
        holder.arg("600");
        namespace::run_in(&mut holder, &client);
        let holder = holder.spawn().unwrap();
        let network = Self { server, client, client_address: Ipv4Addr::new(10, 9, 0, 77), holder };
        let process = network.holder.id().to_string();
        let at_server = |arguments: &str| ip(&network.server, arguments);
        at_server("link add k0 type veth peer name k1");
        at_server(&format!("link set k1 netns {process}"));
        at_server(&format!("address add {SERVER}/24 dev k0"));
        at_server("link set k0 up");
        ip(&network.client, "link set k1 up");
        network
    }

    /// Gives the client its address, as a DHCP client does after its lease.
    pub fn configure_client(&self) {
        ip(&self.client, &format!("address add {}/24 dev k1", self.client_address));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

fn ip(namespace: &OwnedFd, arguments: &str) {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    namespace::run_in(&mut command, namespace);
    let output = command.output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

pub struct Client(UdpSocket);

impl Client {
    /// On `k1` of the client's namespace.
    pub fn open(network: &Network, port: u16) -> Self {
        let open = || -> io::Result<UdpSocket> {
            let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            setsockopt(&socket, BindToDevice, &"k1".into())?;
            setsockopt(&socket, Broadcast, &true)?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
            Ok(socket.into())
        };
        let socket = namespace::run(&network.client, open).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub fn send_to(&self, bytes: &[u8], to: SocketAddrV4) {
        self.0.send_to(bytes, to).unwrap();
    }

    pub fn send(&self, bytes: &[u8]) {
        self.send_to(bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
    }

    pub fn receive(&self) -> Option<Packet> {
        let mut buffer = [0; 2000];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(Packet::decode(&buffer[..length]).unwrap())
    }

    /// The answer to one packet; `None` if there is none.
    pub fn ask_once(&self, request: &Packet) -> Option<Packet> {
        self.send(&request.encode());
        loop {
            let reply = self.receive()?;
            // Of an earlier attempt otherwise.
            if reply.transaction == request.transaction && reply.mac == request.mac {
                assert_eq!(reply.operation, Operation::Reply);
                return Some(reply);
            }
        }
    }

    /// Repeats the packet as DHCP clients do: the first one after the interface is up may be lost.
    pub fn ask(&self, request: &Packet) -> Packet {
        let mut attempts = (0..ATTEMPTS).filter_map(|_| self.ask_once(request));
        attempts.next().unwrap_or_else(|| panic!("no answer to {request:?}"))
    }
}

pub fn request(kind: MessageType, class: &str, architecture: u16, user_class: &str) -> Packet {
    let mut packet = Packet {
        operation: Operation::Request,
        hops: 0,
        transaction: TRANSACTION.fetch_add(1, Ordering::Relaxed),
        seconds: 0,
        flags: 0x8000,
        client_address: Ipv4Addr::UNSPECIFIED,
        your_address: Ipv4Addr::UNSPECIFIED,
        next_server: Ipv4Addr::UNSPECIFIED,
        relay: Ipv4Addr::UNSPECIFIED,
        mac: "52:54:00:12:34:56".parse().unwrap(),
        file: String::new(),
        options: BTreeMap::new(),
    };
    packet.set_type(kind);
    let mut put = |number: u8, value: &[u8]| drop(packet.options.insert(number, value.to_vec()));
    if !class.is_empty() {
        put(option::CLASS, class.as_bytes());
        put(option::ARCHITECTURE, &architecture.to_be_bytes());
        // What the client reads: without it some servers leave options out.
        put(55, &[1, 3, 43, 54, 60, 66, 67]);
    }
    if !user_class.is_empty() {
        put(option::USER_CLASS, user_class.as_bytes());
    }
    packet
}
