//! Two nodes that a cable connects, each a network namespace.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd},
    process::Command,
    time::Duration,
};

use flannel_core::{MacAddress, Tables, VxlanDevice, steps};
use flannel_network::{Links, Network};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::time::{Instant, timeout};

/// Far longer than anything here takes on a busy host.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Namespace(File);

impl Namespace {
    pub fn create() -> io::Result<Self> {
        let created = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        created.join().unwrap().map(Self)
    }

    /// Runs `work` on a thread in the namespace, within the runtime of the caller if there is one.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let runtime = tokio::runtime::Handle::try_current().ok();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                let _within = runtime.as_ref().map(tokio::runtime::Handle::enter);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The output of a program in the namespace.
    pub fn output(&self, program: &str, arguments: &str) -> String {
        let (succeeded, output) = self.try_program(program, arguments);
        assert!(succeeded, "{program} {arguments}: {output}");
        output
    }

    pub fn try_program(&self, program: &str, arguments: &str) -> (bool, String) {
        let output = self.run(|| Command::new(program).args(arguments.split(' ')).output()).unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.output("ip", arguments)
    }

    pub fn network(&self) -> Network {
        self.run(|| Network::open().unwrap())
    }

    pub fn index(&self, device: &str) -> u32 {
        let listed = self.ip(&format!("-o link show dev {device}"));
        listed.split(':').next().unwrap().parse().unwrap()
    }

    /// Connects device `name` to one of the same name in `other`.
    pub fn connect(&self, name: &str, other: &Namespace) {
        let path = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        self.ip(&format!("link add {name} type veth peer name {name} netns {path}"));
    }

    /// Configures `eth0`.
    fn configure(&self, node: u8) {
        self.ip("link set lo up");
        self.ip(&format!("address add {}/24 dev eth0", address(node)));
        self.ip("link set eth0 up");
    }
}

/// Address of node 1 or 2 on the cable.
pub fn address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 77, node)
}

/// Node 1 with the address 192.168.77.1 on `eth0`, and node 2.
pub struct Lab {
    pub one: Namespace,
    pub two: Namespace,
}

/// Why this host cannot run the tests; `None` if it can.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    if !has("ip", "-V") {
        return Some("needs `ip` of iproute2".into());
    }
    let namespace = match Namespace::create() {
        Ok(namespace) => namespace,
        Err(error) => return Some(format!("cannot create network namespaces: {error}")),
    };
    for kind in ["veth", "vxlan id 9 dstport 4789", "bridge"] {
        let (created, text) = namespace.try_program("ip", &format!("link add probe type {kind}"));
        if !created {
            return Some(format!("the kernel creates no {kind}: {}", text.trim()));
        }
        namespace.ip("link delete probe");
    }
    None
}

/// Whether a program is installed.
pub fn has(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

pub fn skipped(test: &str, reason: &str) {
    eprintln!("SKIPPED: {test}: {reason}");
}

/// Runs a test in the namespace of node 1, with all tasks on one thread.
pub fn test(name: &str, body: impl AsyncFnOnce(&Lab) + Send) {
    if let Some(reason) = missing() {
        return skipped(name, &reason);
    }
    let lab = Lab { one: Namespace::create().unwrap(), two: Namespace::create().unwrap() };
    lab.one.connect("eth0", &lab.two);
    lab.one.configure(1);
    lab.two.configure(2);
    lab.one.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(10 * PATIENCE, body(&lab)).await.unwrap() });
    });
}

/// The device of a node, as flanneld wants it.
pub fn device(node: u8, underlay: u32) -> VxlanDevice {
    VxlanDevice {
        name: "flannel.1".into(),
        vni: 1,
        port: 8472,
        group_policy: false,
        underlay,
        local: address(node),
        mac: MacAddress::local([node; 6]),
        mtu: 1450,
    }
}

/// Changes the tables to `desired`, and asserts that nothing failed and that they are so then.
pub async fn reach(network: &Network, links: Links, desired: &Tables) {
    let observed = network.observe(links, |_, _| true).await.unwrap();
    let failed = network.apply(links, &steps(&observed, desired, &|_| String::new())).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(&network.observe(links, |_, _| true).await.unwrap(), desired);
}

/// Repeats `check` until it is true; `last` describes what was observed last.
pub async fn eventually(mut check: impl AsyncFnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let last = match check().await {
            Ok(()) => return,
            Err(last) => last,
        };
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {last}");
        tokio::task::yield_now().await;
    }
}

/// An error with its causes, as programs print it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
