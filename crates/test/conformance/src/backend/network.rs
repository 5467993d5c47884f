//! A separate network: each member in its network namespace, on one bridge, with links that can be cut in each
//! direction.
//!
//! It exists only within the namespaces of `in_own_namespaces`, and is removed with them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;

const INSIDE: &str = "CONFORMANCE_INSIDE";
const PREFIX: &str = "10.99.0";
/// Host number of the clients.
const CLIENTS: u8 = 254;
/// An unused address: packets to it are dropped silently, as on a broken link.
const UNUSED_ADDRESS: &str = "02:00:00:00:00:ff";

/// Reruns the test named `test` as root in new user, network and mount namespaces, and executes `body` there.
///
/// # Panics
///
/// If the inner run fails.
pub fn in_own_namespaces(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let own = std::env::current_exe();
    let mut inner = Command::new("unshare");
    inner.args(["--user", "--map-root-user", "--net", "--mount"]);
    match own {
        Ok(path) => inner.arg(path),
        Err(error) => panic!("the test's own program: {error}"),
    };
    inner.args([test, "--exact", "--nocapture", "--include-ignored"]).env(INSIDE, "1");
    let ended = inner.output();
    match ended {
        Ok(ended) => {
            let (out, error) =
                (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
            println!("{out}{error}");
            assert!(ended.status.success(), "inside of namespaces: {}", ended.status);
            assert!(out.contains("1 passed"), "no test is named {test}");
        }
        Err(error) => panic!("unshare: {error}"),
    }
}

pub struct Network {
    /// A process per member that keeps its namespace alive.
    holders: Vec<Child>,
}

impl Network {
    /// Only within `in_own_namespaces`.
    pub fn new(members: usize) -> Result<Self, Failure> {
        shell(&format!(
            "ip link set lo up && ip link add br0 type bridge && ip link set br0 up && \
             ip addr add {PREFIX}.{CLIENTS}/24 dev br0"
        ))?;
        let mut network = Self { holders: Vec::new() };
        for number in 0..members {
            let holder = Command::new("unshare")
                .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            let mut holder = holder.map_err(Failure::io("make a network namespace"))?;
            let stdout = holder.stdout.take();
            network.holders.push(holder);
            if let Some(mut stdout) = stdout {
                let mut ready = [0; 5];
                std::io::Read::read_exact(&mut stdout, &mut ready)
                    .map_err(Failure::io("wait for a network namespace"))?;
            }
            network.connect(number)?;
        }
        for from in 0..members {
            for to in (0..members).filter(|to| *to != from) {
                network.neighbour(from, to, &hardware(to))?;
            }
        }
        Ok(network)
    }

    fn connect(&self, number: usize) -> Result<(), Failure> {
        let (holder, address, hardware) = (self.holder(number), self.address(number), hardware(number));
        shell(&format!(
            "ip link add v{number} type veth peer name eth0 address {hardware} netns {holder} && \
             ip link set v{number} master br0 up && \
             nsenter --net=/proc/{holder}/ns/net sh -c \
             'ip addr add {address}/24 dev eth0 && ip link set eth0 up'"
        ))
    }

    pub fn address(&self, number: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, number as u8 + 1)
    }

    /// Drops all packets from `from` to `to`; the other direction stays open.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), Failure> {
        self.neighbour(from, to, UNUSED_ADDRESS)
    }

    /// Partitions `number` from all other members in both directions; clients still reach it.
    pub fn isolate(&self, number: usize) -> Result<(), Failure> {
        for other in (0..self.holders.len()).filter(|other| *other != number) {
            self.cut(number, other)?;
            self.cut(other, number)?;
        }
        Ok(())
    }

    pub fn heal(&self) -> Result<(), Failure> {
        for from in 0..self.holders.len() {
            for to in (0..self.holders.len()).filter(|to| *to != from) {
                self.neighbour(from, to, &hardware(to))?;
            }
        }
        Ok(())
    }

    /// A command that runs `program` in the namespace of member `number`, without a fork: its process id is the
    /// member's.
    pub(super) fn command(&self, number: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder(number))).arg(program);
        command
    }

    fn holder(&self, number: usize) -> u32 {
        self.holders[number].id()
    }

    fn neighbour(&self, from: usize, to: usize, hardware: &str) -> Result<(), Failure> {
        let (holder, address) = (self.holder(from), self.address(to));
        shell(&format!(
            "nsenter --net=/proc/{holder}/ns/net \
             ip neigh replace {address} lladdr {hardware} nud permanent dev eth0"
        ))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            if let Err(error) = holder.kill().and_then(|()| holder.wait()) {
                eprintln!("a network namespace is kept: {error}");
            }
        }
    }
}

fn hardware(number: usize) -> String {
    format!("02:00:00:00:00:{:02x}", number + 1)
}

pub(super) fn shell(script: &str) -> Result<(), Failure> {
    let ended = Command::new("sh").args(["-c", script]).output().map_err(Failure::io("run sh"))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(Failure::differs(format!("`{script}`: {}", String::from_utf8_lossy(&ended.stderr))))
}
