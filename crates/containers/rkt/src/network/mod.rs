//! Networks of pods: a bridge of the host, a pair of interfaces for each pod, rules of nftables for each pod.
//!
//! A pod's address, interface and rules belong to it as long as it runs; what a killed `rkt` left is replaced when another
//! pod starts. Entries of other programs are not changed, but for two rules in the chain that Docker leaves to users.

mod address;
mod bridge;
mod device;
mod docker;
mod namespace;
mod rules;
mod subnet;

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use netlink::nftables::Nftables;
use pod::{NetworkMode, PodManifest, PodState, Uuid};

use self::device::Devices;
use self::subnet::Subnet;
use crate::pods::Pods;

/// A pod's part of a network.
pub struct Attachment {
    /// As `rkt list` shows it; empty without a network.
    pub description: String,
    /// Whose interface and rules do not end with the pod.
    uuid: Option<Uuid>,
}

/// Connects the network namespace of a pod's first process.
pub fn attach(pods: &Pods, manifest: &PodManifest, pid: i32) -> anyhow::Result<Attachment> {
    let none = Attachment { description: String::new(), uuid: None };
    let subnet = match manifest.network {
        NetworkMode::Host => return Ok(none),
        NetworkMode::None => {
            run(async { namespace::devices(pid)?.set_loopback_up().await })?;
            return Ok(none);
        }
        NetworkMode::Default => Subnet::default_network(),
        NetworkMode::Flannel => Subnet::of_flannel()?,
    };
    // Held until the rules are in place: concurrent starts see one another's addresses and ports.
    let lock = address::lock(pods, &subnet)?;
    check_ports(pods, manifest)?;
    let own = address::allocate(pods, &subnet, &manifest.uuid)?;
    run(connect(pods, manifest, &subnet, own, pid))?;
    drop(lock);
    let description = format!("{}:ip4={own}", manifest.network);
    Ok(Attachment { description, uuid: Some(manifest.uuid.clone()) })
}

async fn connect(
    pods: &Pods,
    manifest: &PodManifest,
    subnet: &Subnet,
    own: Ipv4Addr,
    pid: i32,
) -> anyhow::Result<()> {
    let (devices, nftables) = (Devices::open()?, rules::open()?);
    remove_stale(pods, &devices, &nftables).await?;
    let bridge = bridge::ensure(&devices, subnet).await?;
    docker::permit_forwarding(&nftables, subnet.bridge).await?;
    devices.create_pair(&interface(&manifest.uuid), bridge, subnet.mtu, pid, own).await?;
    let inside = namespace::devices(pid)?;
    inside.set_loopback_up().await?;
    let address = Ipv4Net::new(own, subnet.prefix).context("the pod's address")?;
    inside.configure(device::INSIDE, address, subnet.gateway).await?;
    rules::add(&nftables, subnet, manifest, own).await
}

impl Attachment {
    /// Removes what does not end with the pod's network namespace, which another process may keep.
    pub fn detach(&self) -> anyhow::Result<()> {
        self.uuid.as_ref().map_or(Ok(()), remove)
    }
}

/// Removes a pod's interface and rules, if they are there.
pub fn remove(uuid: &Uuid) -> anyhow::Result<()> {
    run(async {
        rules::remove(&rules::open()?, uuid).await?;
        Devices::open()?.remove_pair(&interface(uuid)).await
    })
}

/// Removes interfaces and rules of pods that do not run, which `rkt` could not remove since it was killed.
async fn remove_stale(pods: &Pods, devices: &Devices, nftables: &Nftables) -> anyhow::Result<()> {
    // Pods of another directory are not this one's to judge.
    let ended = |prefix: &str| {
        let Ok(found) = pods.find(prefix) else { return Ok(None) };
        anyhow::Ok(if found.state()? == PodState::Running { None } else { Some(found.uuid) })
    };
    for uuid in rules::of_pods(nftables).await? {
        if let Some(uuid) = ended(uuid.as_str())? {
            rules::remove(nftables, &uuid).await?;
        }
    }
    for name in devices.pairs().await? {
        let Some(short) = name.strip_prefix(INTERFACE) else { continue };
        // Another program's may begin so, too.
        if ended(short)?.is_some_and(|uuid| interface(&uuid) == name) {
            devices.remove_pair(&name).await?;
        }
    }
    Ok(())
}

/// Of the host's side of a pair, before the beginning of the pod's UUID.
const INTERFACE: &str = "rkt";

fn interface(uuid: &Uuid) -> String {
    format!("{INTERFACE}{}", uuid.short())
}

/// Sockets of netlink are read by a task.
fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot create a runtime for netlink")?.block_on(work)
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
