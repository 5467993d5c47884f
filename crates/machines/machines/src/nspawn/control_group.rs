//! A control group for each node.
//!
//! All supervisors run in one group of the host, and a guest's systemd takes ownership of the group in which it
//! starts: two guests in one group would remove each other's service groups.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use crate::limits;
use crate::store::Layout;

const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The name of a node's group, unique per cluster folder.
pub fn name(layout: &Layout, node: &str) -> String {
    format!("{}{node}", prefix(layout))
}

fn prefix(layout: &Layout) -> String {
    let cluster = layout.root().file_name().unwrap_or_default().to_string_lossy();
    format!("keelson-{}-{cluster}-", layout.hash_prefix())
}

/// Removes the group of a node whose supervisor was killed; waits until its processes have exited.
pub fn clear(layout: &Layout, node: &str) -> io::Result<()> {
    let name = name(layout, node);
    hierarchies()?.iter().try_for_each(|hierarchy| remove_when_empty(&hierarchy.join(&name)))
}

/// Removes the groups of all nodes of a cluster.
pub fn clear_all(layout: &Layout) -> io::Result<()> {
    let prefix = prefix(layout);
    for hierarchy in hierarchies()? {
        for entry in fs::read_dir(&hierarchy)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                remove_when_empty(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Mount points of the host's hierarchies in which groups are created.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    Ok(hierarchies_of(&fs::read_to_string("/proc/self/mounts")?))
}

fn hierarchies_of(mounts: &str) -> Vec<PathBuf> {
    let hierarchy = |line: &str| {
        let [_, mount_point, kind, options] = line.split(' ').take(4).collect::<Vec<_>>().try_into().ok()?;
        let ours = kind == "cgroup2"
            || kind == "cgroup" && options.split(',').any(|option| option == "name=systemd");
        ours.then(|| PathBuf::from(mount_point))
    };
    mounts.lines().filter_map(hierarchy).collect()
}

fn remove_when_empty(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + limits::KILL;
    loop {
        match remove(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => return Ok(()),
            // Killed processes take a moment to exit, child groups may disappear meanwhile, and cgroup v1 sends no
            // event when a group becomes empty.
            Err(error) if is_transient(&error) && Instant::now() < deadline => {
                std::thread::sleep(RETRY_INTERVAL)
            }
            done => return done,
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound)
}

/// The group in which a node starts. Drop removes it with the child groups of the guest.
#[derive(Debug)]
pub struct Group {
    folders: Vec<PathBuf>,
    process_files: Vec<File>,
}

impl Group {
    /// `below` is a folder in which the supervisor mounts the hierarchies in its own mount namespace.
    pub fn create(below: &Path, name: &str) -> io::Result<Self> {
        let unified = mount_hierarchy(&below.join("unified"), "cgroup2", "")?;
        let mut folders = vec![unified.join(name)];
        // With cgroup v1 nspawn may use its position in systemd's named hierarchy.
        if fs::read_to_string("/proc/self/cgroup")?.contains(":name=systemd:") {
            let named = mount_hierarchy(&below.join("named"), "cgroup", "none,name=systemd")?;
            folders.push(named.join(name));
        }
        let mut process_files = Vec::new();
        for folder in &folders {
            // A stale group of a killed supervisor contains its guest's groups.
            remove_when_empty(folder)?;
            fs::create_dir_all(folder)?;
            process_files.push(File::options().write(true).open(folder.join("cgroup.procs"))?);
        }
        Ok(Self { folders, process_files })
    }

    /// Writing `0` to one of these descriptors moves the writing process into the group.
    pub fn process_files(&self) -> Vec<RawFd> {
        self.process_files.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = remove(folder) {
                eprintln!("cannot remove the control group {}: {error}", folder.display());
            }
        }
    }
}

fn mount_hierarchy(at: &Path, kind: &str, options: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(at)?;
    mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options))?;
    Ok(at.to_path_buf())
}

/// Groups are removed depth first; their files belong to the kernel.
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
    fn group_names_are_unique_per_cluster_folder() {
        let group = |state: &str| name(&Layout::new(Path::new(state), "default").unwrap(), "core-01");
        assert_ne!(group("/home/a/keelson"), group("/home/b/keelson"));
        assert_eq!(group("/home/a/keelson"), group("/home/a/keelson"), "found again by the next keelson");
        let longest = Layout::new(Path::new("/"), &"c".repeat(32)).unwrap();
        let node = format!("{}-232", "n".repeat(limits::NAME_PREFIX_MAX));
        // It is also the machine name, which systemd limits like a host name.
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
