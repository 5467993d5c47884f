//! The user namespace of a node: its root is an unprivileged user of the host.
//!
//! Files of the node keep the owners that they have in it: its mounts map them (`mount_setattr(2)`), so that a node
//! can start without a user namespace where the kernel supports none.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use crate::cluster::fnv;

/// Number of user IDs, and of group IDs, in a node.
const SIZE: u32 = 1 << 16;
/// The range that systemd reserves for containers, where hosts have no users of their own.
const FIRST: u32 = 0x0008_0000;
const LAST: u32 = 0x6FFF_0000;

/// Host IDs of a node's users and groups: that of its root, and the [`SIZE`] following ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    pub root: u32,
}

impl IdRange {
    /// The range of a machine, which is always the same.
    pub fn of(machine: &str) -> Self {
        let count = u64::from((LAST - FIRST) / SIZE);
        // invariant: the remainder is below `count`, which is 32 bits wide.
        let index = u32::try_from(fnv(machine) % count).unwrap_or(0);
        Self { root: FIRST + index * SIZE }
    }
}

/// As nspawn's `--private-users=` takes it.
impl fmt::Display for IdRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{SIZE}", self.root)
    }
}

/// Credential for `systemd-sysctl`: the image's range of groups that may use ping ends above the namespace's.
pub fn sysctl() -> (String, String) {
    ("sysctl.extra".to_owned(), format!("net.ipv4.ping_group_range = 0 {}\n", SIZE - 1))
}

/// A user namespace by which mounts map owners. It exists while this value or such a mount does.
#[derive(Debug)]
pub struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// Needs root.
    #[allow(unsafe_code, reason = "a system call between fork and exec")]
    pub fn create(range: IdRange) -> io::Result<Self> {
        // A process in the namespace, until it is open: it reads its input until end of file.
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: unshare takes an integer.
        unsafe {
            command.pre_exec(|| unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from));
        }
        let mut inside = command.spawn()?;
        let map = format!("0 {} {SIZE}\n", range.root);
        let folder = Path::new("/proc").join(inside.id().to_string());
        let opened = std::fs::write(folder.join("uid_map"), &map)
            .and_then(|()| std::fs::write(folder.join("gid_map"), &map))
            .and_then(|()| File::open(folder.join("ns/user")));
        drop(inside.stdin.take());
        inside.wait()?;
        Ok(Self(opened?.into()))
    }

    pub fn as_raw_fd(&self) -> libc::c_int {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_containers_and_do_not_overlap() {
        let ranges: Vec<IdRange> = (1..=16).map(|number| IdRange::of(&format!("core-{number:02}"))).collect();
        for range in &ranges {
            assert!((FIRST..=LAST - SIZE).contains(&range.root) && range.root % SIZE == 0, "{range}");
        }
        let different: std::collections::BTreeSet<u32> = ranges.iter().map(|range| range.root).collect();
        assert_eq!(different.len(), ranges.len());
        assert_eq!(IdRange { root: 0x0008_0000 }.to_string(), "524288:65536");
    }
}
