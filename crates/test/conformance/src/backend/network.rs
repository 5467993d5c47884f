//! A network of the members' own: each in its network namespace, on one bridge, any direction of any pair cut.
//!
//! Nothing leaves it: it exists inside of the namespaces that `in_own_namespaces` makes, and goes with them.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;

const INSIDE: &str = "CONFORMANCE_INSIDE";
const PREFIX: &str = "10.99.0";
/// Where the clients are.
const HUB: u8 = 254;
/// Nobody's address: what is sent to it is lost without a word, as on a broken wire.
const NOWHERE: &str = "02:00:00:00:00:ff";

/// Runs the test named `test` once more, as root of namespaces (users, network, mounts) of its own; there, `body`.
///
/// # Panics
/// When the inner run fails.
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
    /// A process for each member that keeps its namespace.
    holders: Vec<Child>,
}

impl Network {
    /// Only inside of `in_own_namespaces`.
    pub fn new(members: usize) -> Result<Self, Failure> {
        shell(&format!(
            "ip link set lo up && ip link add br0 type bridge && ip link set br0 up && \
             ip addr add {PREFIX}.{HUB}/24 dev br0"
        ))?;
        let mut network = Self { holders: Vec::new() };
        for number in 0..members {
            let holder = Command::new("unshare")
                .args(["--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            let mut holder = holder.map_err(Failure::io("make a network namespace"))?;
            let said = holder.stdout.take();
            network.holders.push(holder);
            if let Some(mut said) = said {
                let mut word = [0; 5];
                std::io::Read::read_exact(&mut said, &mut word)
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

    /// From now on nothing that `from` sends arrives at `to`; the other way is open.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), Failure> {
        self.neighbour(from, to, NOWHERE)
    }

    /// Cuts `number` off from all others, both ways; clients still reach it.
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

    /// A command that runs `program` as member `number`, under the id that it is started with.
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
