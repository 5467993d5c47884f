//! A control group of its own for each node.
//!
//! The keepers of all nodes run in one group of the host. A guest's systemd takes the group it is started in for
//! the whole world: two guests in one group would remove each other's services' groups.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use crate::limits;
use crate::store::Layout;

/// Between two tries to remove a group.
const PAUSE: Duration = Duration::from_millis(10);

/// The name of a node's group. Two clusters of one name, in two folders, have two groups.
pub fn name(layout: &Layout, node: &str) -> String {
    format!("{}{node}", prefix(layout))
}

fn prefix(layout: &Layout) -> String {
    let cluster = layout.root().file_name().unwrap_or_default().to_string_lossy();
    format!("keelson-{}-{cluster}-", layout.mark())
}

/// Removes the group of a node whose keeper was killed, once what ran in it is gone; waits for that.
pub fn clear(layout: &Layout, node: &str) -> io::Result<()> {
    let name = name(layout, node);
    hierarchies()?.iter().try_for_each(|shown| emptied(&shown.join(&name)))
}

/// The same for all nodes of a cluster.
pub fn clear_all(layout: &Layout) -> io::Result<()> {
    let prefix = prefix(layout);
    for shown in hierarchies()? {
        for entry in fs::read_dir(&shown)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                emptied(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Where this host shows the hierarchies that groups are made in; none where it shows none.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    Ok(hierarchies_of(&fs::read_to_string("/proc/self/mounts")?))
}

fn hierarchies_of(mounts: &str) -> Vec<PathBuf> {
    let shown = |line: &str| {
        let [_, place, kind, options] = line.split(' ').take(4).collect::<Vec<_>>().try_into().ok()?;
        let ours =
            kind == "cgroup2" || kind == "cgroup" && options.split(',').any(|word| word == "name=systemd");
        ours.then(|| PathBuf::from(place))
    };
    mounts.lines().filter_map(shown).collect()
}

/// Removes a group as soon as nothing is in it.
fn emptied(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + limits::KILL;
    loop {
        match remove(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(()),
            // What was killed takes a moment to end, its groups may go meanwhile, and nothing tells when a group
            // has no process any more.
            Err(error) if passing(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound)
}

/// The group that a node starts in; removed, with what the guest made below it, when the node is gone.
#[derive(Debug)]
pub struct Group {
    folders: Vec<PathBuf>,
    members: Vec<File>,
}

impl Group {
    /// `below` is a folder in which the keeper, in its own mount namespace, shows the hierarchies.
    pub fn make(below: &Path, name: &str) -> io::Result<Self> {
        let unified = shown(&below.join("unified"), "cgroup2", "")?;
        let mut folders = vec![unified.join(name)];
        // On a host with the old hierarchies nspawn may go by the place that it has in systemd's one.
        if fs::read_to_string("/proc/self/cgroup")?.contains(":name=systemd:") {
            let named = shown(&below.join("named"), "cgroup", "none,name=systemd")?;
            folders.push(named.join(name));
        }
        let mut members = Vec::new();
        for folder in &folders {
            // One that is left of a keeper that was killed holds what its guest had made.
            emptied(folder)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_of_one_name_in_two_folders_have_groups_of_their_own() {
        let group = |state: &str| name(&Layout::new(Path::new(state), "default").unwrap(), "core-01");
        assert_ne!(group("/home/a/keelson"), group("/home/b/keelson"));
        assert_eq!(group("/home/a/keelson"), group("/home/a/keelson"), "found again by the next keelson");
        let longest = Layout::new(Path::new("/"), &"c".repeat(32)).unwrap();
        let node = format!("{}-232", "n".repeat(limits::NAME_PREFIX_MAX));
        // It is the machine's name too, which systemd bounds as a host's.
        assert!(name(&longest, &node).len() - "keelson-".len() <= 64);
    }

    #[test]
    fn hierarchies_are_found_among_the_mounts() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
            cgroup /c/systemd cgroup rw,xattr,name=systemd 0 0\ncgroup2 /c/unified cgroup2 rw,nosuid 0 0\n";
        assert_eq!(hierarchies_of(mounts), [Path::new("/c/systemd"), Path::new("/c/unified")]);
        assert!(hierarchies_of("").is_empty());
    }
}
