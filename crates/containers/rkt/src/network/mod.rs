//! Networks of pods: a bridge of the host, a pair of interfaces for each pod, rules of nftables for each pod.
//!
//! A pod's interfaces end with its network namespace. Its address and its rules belong to it as long as it runs; what a
//! killed `rkt` left is replaced when another pod starts.

mod address;
mod bridge;
mod program;
mod rules;
mod subnet;

use std::fs::File;
use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, setns};
use pod::{NetworkMode, PodManifest, PodState, Uuid};

use self::program::run;
use self::subnet::Subnet;
use crate::pods::Pods;

/// A pod's part of a network.
pub struct Attachment {
    /// As `rkt list` shows it; empty without a network.
    pub description: String,
    rules: Option<String>,
}

/// Connects the network namespace of a pod's first process.
pub fn attach(pods: &Pods, manifest: &PodManifest, pid: i32) -> anyhow::Result<Attachment> {
    let none = Attachment { description: String::new(), rules: None };
    let subnet = match manifest.network {
        NetworkMode::Host => return Ok(none),
        NetworkMode::None => {
            inside(pid, "link set lo up\n")?;
            return Ok(none);
        }
        NetworkMode::Default => Subnet::default_network(),
        NetworkMode::Flannel => Subnet::of_flannel()?,
    };
    // Held until the rules are in place: concurrent starts see one another's addresses and ports.
    let lock = address::lock(pods, &subnet)?;
    check_ports(pods, manifest)?;
    let own = address::allocate(pods, &subnet, &manifest.uuid)?;
    bridge::ensure(&subnet)?;
    let short = manifest.uuid.short();
    let interface = format!("rkt{short}");
    let (mtu, bridge) = (subnet.mtu, subnet.bridge);
    let commands = format!(
        "link add {interface} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pid}\n\
         link set {interface} master {bridge} up\n"
    );
    run("ip", &["-batch", "-"], &commands)?;
    let (prefix, gateway) = (subnet.prefix, subnet.gateway);
    let commands = format!(
        "link set lo up\naddress add {own}/{prefix} dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
    );
    inside(pid, &commands)?;
    rules::remove_stale(pods)?;
    let table = rules::add(&subnet, manifest, own)?;
    drop(lock);
    let description = format!("{}:ip4={own}", manifest.network);
    Ok(Attachment { description, rules: Some(table) })
}

impl Attachment {
    /// Removes what does not end with the pod's network namespace.
    pub fn detach(&self) -> anyhow::Result<()> {
        self.rules.as_deref().map_or(Ok(()), rules::remove)
    }
}

/// Removes a pod's rules, if they are there.
pub fn remove_rules(uuid: &Uuid) -> anyhow::Result<()> {
    rules::remove_if_present(uuid)
}

/// Runs commands of `ip` in the network namespace of a process.
fn inside(pid: i32, commands: &str) -> anyhow::Result<()> {
    let open = |path: &str| File::open(path).with_context(|| format!("cannot open {path}"));
    let own = open("/proc/self/ns/net")?;
    let other = open(&format!("/proc/{pid}/ns/net"))?;
    setns(&other, CloneFlags::CLONE_NEWNET).context("cannot enter the pod's network namespace")?;
    let done = run("ip", &["-batch", "-"], commands);
    setns(&own, CloneFlags::CLONE_NEWNET).context("cannot leave the pod's network namespace")?;
    done
}

/// A forwarded port belongs to one pod.
fn check_ports(pods: &Pods, manifest: &PodManifest) -> anyhow::Result<()> {
    let overlaps =
        |one: Option<Ipv4Addr>, other: Option<Ipv4Addr>| one.is_none() || other.is_none() || one == other;
    let protocol = |port: &pod::PortForward| port.target().map(|(_, protocol)| protocol);
    if manifest.ports.is_empty() {
        return Ok(());
    }
    for other in pods.list()? {
        if other.uuid == manifest.uuid || !other.state().is_ok_and(|state| state == PodState::Running) {
            continue;
        }
        let Ok(theirs) = other.manifest() else { continue };
        for (own, used) in
            manifest.ports.iter().flat_map(|own| theirs.ports.iter().map(move |used| (own, used)))
        {
            let is_same = own.host_port == used.host_port && protocol(own) == protocol(used);
            if is_same && overlaps(own.host_address, used.host_address) {
                bail!("port {} of the host is forwarded to pod {}", own.host_port, other.uuid);
            }
        }
    }
    Ok(())
}
