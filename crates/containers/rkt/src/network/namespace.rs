//! The network namespace of a process.

use std::fs::File;

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};

use super::device::Devices;

/// The devices in it. A socket remains in the namespace in which it was opened.
pub fn devices(pid: i32) -> anyhow::Result<Devices> {
    let open = |path: &str| File::open(path).with_context(|| format!("cannot open {path}"));
    let own = open("/proc/self/ns/net")?;
    let other = open(&format!("/proc/{pid}/ns/net"))?;
    setns(&other, CloneFlags::CLONE_NEWNET).context("cannot enter the pod's network namespace")?;
    let devices = Devices::open();
    setns(&own, CloneFlags::CLONE_NEWNET).context("cannot leave the pod's network namespace")?;
    devices
}
