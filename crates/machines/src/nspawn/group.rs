//! A control group of its own for each node.
//!
//! The keepers of all nodes run in one group of the host. A guest's systemd takes the group it is started in for
//! the whole world: two guests in one group would remove each other's services' groups.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// The group that a node starts in; removed, with what the guest made below it, when the node is gone.
#[derive(Debug)]
pub struct Group {
    folders: Vec<PathBuf>,
    members: Vec<File>,
}

impl Group {
    /// `below` is a folder in which the keeper, in its own mount namespace, shows the hierarchies.
    pub fn make(below: &Path, machine: &str) -> io::Result<Self> {
        let unified = shown(&below.join("unified"), "cgroup2", "")?;
        let mut folders = vec![unified.join(format!("keelson-{machine}"))];
        // On a host with the old hierarchies nspawn may go by the place that it has in systemd's one.
        if fs::read_to_string("/proc/self/cgroup")?.contains(":name=systemd:") {
            let named = shown(&below.join("named"), "cgroup", "none,name=systemd")?;
            folders.push(named.join(format!("keelson-{machine}")));
        }
        let mut members = Vec::new();
        for folder in &folders {
            fs::create_dir_all(folder)?;
            members.push(File::options().write(true).open(folder.join("cgroup.procs"))?);
        }
        Ok(Self { folders, members })
    }

    /// Writing `0` to each of these moves the writing process into the group.
    pub fn members(&self) -> Vec<RawFd> {
        self.members.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = remove(folder) {
                eprintln!("the control group {} stays: {error}", folder.display());
            }
        }
    }
}

fn shown(at: &Path, kind: &str, options: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(at)?;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options))?;
    Ok(at.to_path_buf())
}

/// Groups go leaf by leaf; their files are the kernel's.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}
