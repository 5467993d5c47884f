//! Runs a program of the locked tools tree as if its distribution were the host's.
//!
//! The tools that build and run images (mkfs.erofs, systemd-repart, ukify, QEMU) come from `os/packages.lock`, so
//! that all hosts produce the same bytes. A [`Sandbox`] starts one of them in its own mount namespace: `/usr` and
//! `/etc` are the tree's, `/proc`, `/dev` and `/sys` the host's, and [shared](Sandbox::share) folders have their host
//! paths. Without root the namespace belongs to a user namespace in which the caller is root. The network is the
//! caller's.
//!
//! It never writes to the tree, and leaves no set-up behind.

#![warn(missing_docs)]

use std::ffi::{CString, OsStr};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

/// Host directories that are visible in every sandbox.
const HOST_DIRECTORIES: [&str; 3] = ["/proc", "/dev", "/sys"];
/// The host's name servers; a tree has an empty file to mount them over.
pub const NAME_SERVERS: &str = "/etc/resolv.conf";
/// File in the new root with the one name server of [`Sandbox::with_name_server`].
const NAME_SERVER: &str = "resolv.conf";
/// Links of a merged-/usr root directory.
const ROOT_LINKS: [(&str, &str); 4] =
    [("usr/bin", "bin"), ("usr/sbin", "sbin"), ("usr/lib", "lib"), ("usr/lib64", "lib64")];

/// Common host directories, one of which is the mount point of the new root.
const ROOTS: [&str; 5] = ["/mnt", "/media", "/srv", "/opt", "/boot"];

/// Why no sandbox was set up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SandboxError {
    #[error("{0} is not a tools tree: it lacks usr/bin")]
    NoTree(PathBuf),
    #[error("path {0} contains a NUL byte")]
    Nul(PathBuf),
    #[error("all of these folders are in use, but one must be free: {}", ROOTS.join(", "))]
    NoRoot,
    #[error("shared folder {0} is not absolute")]
    Relative(PathBuf),
}

/// A tools tree and the host folders that its programs may use.
#[derive(Debug, Clone)]
pub struct Sandbox {
    tree: PathBuf,
    shared: Vec<PathBuf>,
    name_servers: NameServers,
}

#[derive(Debug, Clone, Copy)]
enum NameServers {
    None,
    Host,
    One(Ipv4Addr),
}

impl Sandbox {
    /// `tree` must contain `usr` and `etc`; the host's `/tmp` and `/run` are always shared.
    pub fn new(tree: &Path) -> Result<Self, SandboxError> {
        if !tree.join("usr/bin").is_dir() {
            return Err(SandboxError::NoTree(tree.to_path_buf()));
        }
        Ok(Self {
            tree: tree.to_path_buf(),
            shared: vec!["/tmp".into(), "/run".into()],
            name_servers: NameServers::None,
        })
    }

    /// Makes `folder` (absolute, existing) visible at its own path, including its mounts.
    #[must_use]
    pub fn share(mut self, folder: impl Into<PathBuf>) -> Self {
        self.shared.push(folder.into());
        self
    }

    /// Lets programs find the host's name servers, as those that forward a machine's DNS requests.
    #[must_use]
    pub fn with_name_servers(self) -> Self {
        Self { name_servers: NameServers::Host, ..self }
    }

    /// Lets programs find this name server and no other, as those in a network namespace that does not reach the host's.
    #[must_use]
    pub fn with_name_server(self, address: Ipv4Addr) -> Self {
        Self { name_servers: NameServers::One(address), ..self }
    }

    /// Path of a program in the tree and in the namespace.
    fn program(&self, name: &str) -> PathBuf {
        let in_sbin = self.tree.join("usr/sbin").join(name).exists();
        // Joining an absolute path yields that path.
        Path::new(if in_sbin { "/usr/sbin" } else { "/usr/bin" }).join(name)
    }

    /// A command whose program is looked up in the tree. Its environment contains PATH, HOME, LC_ALL and what the
    /// caller adds; its working directory is `/` unless the caller sets a shared one.
    #[allow(unsafe_code, reason = "system calls between fork and exec")]
    pub fn command(&self, program: &str) -> Result<Command, SandboxError> {
        let plan = MountPlan::new(self)?;
        let mut command = Command::new(self.program(program));
        command.env_clear();
        command.env("PATH", "/usr/bin:/usr/sbin").env("HOME", "/tmp").env("LC_ALL", "C.UTF-8");
        // SAFETY: the closure runs in the forked child before exec and only makes system calls on strings that were
        // allocated before the fork.
        unsafe {
            command.pre_exec(move || plan.enter());
        }
        Ok(command)
    }
}

/// All strings that the child needs, allocated before the fork.
#[derive(Debug)]
struct MountPlan {
    root: CString,
    directories: Vec<CString>,
    binds: Vec<(CString, CString, bool)>,
    links: Vec<(CString, CString)>,
    /// A file that is written before the mounts: path and content.
    file: Option<(CString, Vec<u8>)>,
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
    rootless: bool,
}

impl MountPlan {
    fn new(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let Sandbox { tree, shared, name_servers } = sandbox;
        let root = &choose_root(shared.iter().map(PathBuf::as_path).chain([tree.as_path()]))?;
        let mut plan = Self {
            root: c_string(root)?,
            directories: Vec::new(),
            binds: Vec::new(),
            links: Vec::new(),
            file: None,
            uid_map: format!("0 {} 1\n", nix::unistd::getuid()).into_bytes(),
            gid_map: format!("0 {} 1\n", nix::unistd::getgid()).into_bytes(),
            rootless: !nix::unistd::geteuid().is_root(),
        };
        for name in ["usr", "etc"] {
            plan.bind(&tree.join(name), root, Path::new(name), true)?;
        }
        for host in HOST_DIRECTORIES {
            plan.bind(Path::new(host), root, Path::new(&host[1..]), false)?;
        }
        for folder in shared {
            let target = folder.strip_prefix("/").map_err(|_| SandboxError::Relative(folder.clone()))?;
            plan.bind(folder, root, target, false)?;
        }
        plan.bind_name_servers(tree, root, *name_servers)?;
        plan.directories.push(c_string(&root.join("var"))?);
        plan.directories.push(c_string(&root.join("var/tmp"))?);
        for (target, name) in ROOT_LINKS {
            plan.links.push((c_string(Path::new(target))?, c_string(&root.join(name))?));
        }
        Ok(plan)
    }

    /// Comes after all other mounts: in a tree that is the host itself, the file may be a link to one of them.
    fn bind_name_servers(
        &mut self,
        tree: &Path,
        root: &Path,
        servers: NameServers,
    ) -> Result<(), SandboxError> {
        let file_of_tree = tree.join(&NAME_SERVERS[1..]).canonicalize();
        let Some(mount_point) = file_of_tree.ok().filter(|file| file.is_file()) else { return Ok(()) };
        let Some(target) = tree.canonicalize().ok().and_then(|tree| mount_point.strip_prefix(tree).ok())
        else {
            return Ok(());
        };
        let from = match servers {
            NameServers::None => return Ok(()),
            // A link, as systemd-resolved's, may lead to a file that the tree does not have.
            NameServers::Host => match Path::new(NAME_SERVERS).canonicalize() {
                Ok(file) => file,
                Err(_) => return Ok(()),
            },
            NameServers::One(address) => {
                let file = root.join(NAME_SERVER);
                self.file = Some((c_string(&file)?, format!("nameserver {address}\n").into_bytes()));
                file
            }
        };
        self.binds.push((c_string(&from)?, c_string(&root.join(target))?, true));
        Ok(())
    }

    /// `target` is the path in the new root.
    fn bind(&mut self, from: &Path, root: &Path, target: &Path, read_only: bool) -> Result<(), SandboxError> {
        let to = &root.join(target);
        let mut ancestors: Vec<_> = to.ancestors().take_while(|path| *path != root).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            self.directories.push(c_string(ancestor)?);
        }
        self.binds.push((c_string(from)?, c_string(to)?, read_only));
        Ok(())
    }

    /// Runs in the child: system calls only.
    fn enter(&self) -> io::Result<()> {
        const NONE: Option<&str> = None;
        if self.rootless {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            write_map(c"/proc/self/setgroups", b"deny")?;
            write_map(c"/proc/self/gid_map", &self.gid_map)?;
            write_map(c"/proc/self/uid_map", &self.uid_map)?;
        }
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some("tools"), self.root.as_c_str(), Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))?;
        for directory in &self.directories {
            match nix::unistd::mkdir(directory.as_c_str(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (target, link) in &self.links {
            nix::unistd::symlinkat(target.as_c_str(), nix::fcntl::AT_FDCWD, link.as_c_str())?;
        }
        if let Some((path, content)) = &self.file {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
            let file = nix::fcntl::open(path.as_c_str(), flags, Mode::from_bits_truncate(0o644))?;
            nix::unistd::write(&file, content)?;
        }
        for (from, to, read_only) in &self.binds {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(from.as_c_str()), to.as_c_str(), NONE, flags, NONE)?;
            if *read_only {
                // A user namespace may not clear flags of the host's mount; keep the common ones.
                let keep = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(NONE, to.as_c_str(), NONE, keep, NONE).or_else(|_| {
                    mount(NONE, to.as_c_str(), NONE, keep | MsFlags::MS_NOSUID | MsFlags::MS_NODEV, NONE)
                })?;
            }
        }
        nix::unistd::chdir(self.root.as_c_str())?;
        nix::unistd::pivot_root(c".", c".")?;
        umount2(c".", MntFlags::MNT_DETACH)?;
        nix::unistd::chdir(c"/")?;
        Ok(())
    }
}

/// Chooses the mount point of the new root, which a tmpfs covers in the child's namespace. Visible paths must not be
/// below it.
fn choose_root<'a>(visible: impl Iterator<Item = &'a Path>) -> Result<PathBuf, SandboxError> {
    let visible: Vec<&Path> = visible.collect();
    let is_unused = |root: &&Path| root.is_dir() && !visible.iter().any(|path| path.starts_with(root));
    let free = ROOTS.map(Path::new).into_iter().find(is_unused);
    free.map(Path::to_path_buf).ok_or(SandboxError::NoRoot)
}

fn write_map(path: &std::ffi::CStr, content: &[u8]) -> io::Result<()> {
    let file = nix::fcntl::open(path, OFlag::O_WRONLY, Mode::empty())?;
    nix::unistd::write(&file, content)?;
    Ok(())
}

fn c_string(path: &Path) -> Result<CString, SandboxError> {
    let bytes: &OsStr = path.as_os_str();
    CString::new(bytes.as_bytes()).map_err(|_| SandboxError::Nul(path.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_root_covers_nothing_that_is_shown() {
        let root = |visible: &[&str]| choose_root(visible.iter().map(Path::new));
        assert_eq!(root(&["/home/a", "/mnt-of-mine"]).unwrap(), Path::new("/mnt"));
        assert_ne!(root(&["/home/a", "/mnt/c/Users/a"]).unwrap(), Path::new("/mnt"));
        assert!(matches!(root(&ROOTS), Err(SandboxError::NoRoot)));
    }

    #[test]
    fn programs_see_the_name_servers_of_the_host_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        std::os::unix::fs::symlink("/usr", tree.join("usr")).unwrap();
        std::fs::create_dir(tree.join("etc")).unwrap();
        std::fs::write(tree.join(&NAME_SERVERS[1..]), "").unwrap();
        let seen_by = |sandbox: Sandbox| sandbox.command("cat").unwrap().arg(NAME_SERVERS).output().unwrap();
        let expected = std::fs::read(NAME_SERVERS).unwrap_or_default();
        let sandbox = Sandbox::new(tree).unwrap();
        assert_eq!(seen_by(sandbox.clone().with_name_servers()).stdout, expected);
        let one = seen_by(sandbox.clone().with_name_server(Ipv4Addr::new(10, 0, 2, 131)));
        assert_eq!(String::from_utf8_lossy(&one.stdout), "nameserver 10.0.2.131\n", "{one:?}");
        let output = seen_by(sandbox);
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(std::fs::read(tree.join(&NAME_SERVERS[1..])).unwrap().is_empty(), "the tree was written");
    }

    /// Its `/etc/resolv.conf` may be a link to a folder that is mounted later, as systemd-resolved's.
    #[test]
    fn name_servers_are_replaced_in_the_host_as_a_tree() {
        let sandbox = Sandbox::new(Path::new("/")).unwrap().with_name_server(Ipv4Addr::new(10, 0, 2, 131));
        let output = sandbox.command("cat").unwrap().arg(NAME_SERVERS).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "nameserver 10.0.2.131\n", "{output:?}");
    }
}
