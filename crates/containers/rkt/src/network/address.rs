//! Addresses of pods: a file for each, named by the address, that contains the pod's UUID.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use pod::{PodState, Uuid};

use super::subnet::Subnet;
use crate::pod_folder::Lock;
use crate::pods::Pods;
use crate::run_file;

const LOCK: &str = "lock";
const MAX_FILE: u64 = 256;

fn folder(pods: &Pods, subnet: &Subnet) -> PathBuf {
    pods.networks().join(subnet.name)
}

/// Serializes changes of one network.
pub fn lock(pods: &Pods, subnet: &Subnet) -> anyhow::Result<Lock> {
    let folder = folder(pods, subnet);
    let failed = || format!("cannot lock {}", folder.display());
    fs::create_dir_all(&folder).with_context(failed)?;
    let file = fs::File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
    let mut file = file.with_context(failed)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((again, nix::errno::Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error).with_context(failed),
        }
    }
}

/// An address that no running pod has. The caller has the lock.
pub fn allocate(pods: &Pods, subnet: &Subnet, uuid: &Uuid) -> anyhow::Result<Ipv4Addr> {
    let folder = folder(pods, subnet);
    for address in subnet.addresses() {
        let path = folder.join(address.to_string());
        let owner = run_file::read_if_present(&path, MAX_FILE)?;
        let owner = owner.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        if owner.is_some_and(|owner| is_running(pods, &owner)) {
            continue;
        }
        let written = fs::write(&path, uuid.as_str());
        written.with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(address);
    }
    bail!("all addresses of the network {} are in use ({})", subnet.name, folder.display());
}

/// A file that was written partly belongs to no pod.
fn is_running(pods: &Pods, owner: &str) -> bool {
    let Ok(uuid) = owner.parse::<Uuid>() else { return false };
    let state = pods.find(uuid.as_str()).and_then(|pod| pod.state());
    // A state that cannot be read keeps the address.
    state.map_or_else(|error| error.downcast_ref::<io::Error>().is_some(), |state| state == PodState::Running)
}
