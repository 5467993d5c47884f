//! The file systems of an nspawn node, mounted in the supervisor's mount namespace.
//!
//! `/usr` is the image's erofs, or a folder with the same content if the host cannot mount erofs. `/etc` is an
//! overlay over the image's defaults. Everything else is the node's own directory. In a node with a user namespace,
//! all of them map their owners to it.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use caps::CapSet;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use super::mounts::Detached;
use super::plan::NodePlan;
use super::user_namespace::UserNamespace;
use crate::network::namespace;

/// Directories that must exist before systemd creates the others.
const DIRECTORIES: [&str; 15] = [
    "usr", "etc", "var", "home", "root", "proc", "sys", "dev", "run", "tmp", "opt", "srv", "mnt", "media",
    "boot",
];
const LINKS: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")];
/// Where the node has its config drive.
pub const CONFIG_DRIVE: &str = "/media/configdrive";
const NONE: Option<&str> = None;

/// Enters a new mount namespace, mounts the node's root at `plan.tree`, and binds the folders that it shares with the
/// host below the node's folder, which is all that programs of the tools tree see of the host.
pub fn mount_root(plan: &NodePlan) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let owners = plan.user_namespace.map(UserNamespace::create).transpose()?;
    let bind = |from: &Path, to: &Path| {
        Detached::of(from, owners.as_ref()).and_then(|mount| mount.attach(to)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot bind {} to {}: {error}", from.display(), to.display()),
            )
        })
    };
    make_skeleton(plan)?;
    let unmapped = mount_usr(plan)?;
    for folder in [&plan.tree, &plan.etc, &plan.host, &plan.config_drive] {
        bind(folder, folder)?;
    }
    let usr = plan.tree.join("usr");
    bind(&unmapped, &usr)?;
    overlay_etc(plan, &usr.join("share/factory/etc"))?;
    if owners.is_some() {
        mount_sysfs(&plan.sysfs())?;
    }
    as_root_of(plan, || make_mount_points(plan))?;
    for (index, folder) in plan.shared.iter().enumerate() {
        let mount_point = plan.shared_mount_point(index);
        std::fs::create_dir_all(&mount_point)?;
        bind(&folder.host, &mount_point)?;
    }
    Ok(())
}

/// Mounts a sysfs that shows no network interfaces of the host. In a user namespace the kernel mounts sysfs only for who
/// has a whole one already; nspawn's `/sys` has parts, and Docker's containers mount their own.
fn mount_sysfs(mount_point: &Path) -> io::Result<()> {
    std::fs::create_dir_all(mount_point)?;
    namespace::run(&namespace::create()?, || {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        Ok(mount(Some("sysfs"), mount_point, Some("sysfs"), flags, NONE)?)
    })
}

/// Mounts the image's `/usr` in the node's folder, and returns where.
fn mount_usr(plan: &NodePlan) -> io::Result<PathBuf> {
    let mount_point = plan.folder().join("usr");
    std::fs::create_dir_all(&mount_point)?;
    let Err(error) = mount_erofs(&plan.usr_erofs, &mount_point) else { return Ok(mount_point) };
    if !plan.usr_tree.exists() {
        let message = format!("cannot mount /usr ({error}), and the unpacked /usr does not exist");
        return Err(io::Error::other(message));
    }
    eprintln!("/usr is a bind mount of the unpacked folder, because erofs cannot be mounted: {error}");
    let inner = plan.usr_tree.join("usr");
    let source = if inner.is_dir() { &inner } else { &plan.usr_tree };
    Detached::of(source, None)?.read_only()?.attach(&mount_point)?;
    Ok(mount_point)
}

fn make_skeleton(plan: &NodePlan) -> io::Result<()> {
    for folder in [plan.etc_upper(), plan.etc_work()] {
        std::fs::create_dir_all(folder)?;
    }
    for name in DIRECTORIES {
        create_dir_all_in(&plan.tree, Path::new(name))?;
    }
    for (name, target) in LINKS {
        match std::os::unix::fs::symlink(target, plan.tree.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// nspawn would create them as the host's root, which owns no file of a mapped file system.
fn make_mount_points(plan: &NodePlan) -> io::Result<()> {
    let shared = plan.shared.iter().map(|folder| Path::new(&folder.guest));
    shared.chain([Path::new(CONFIG_DRIVE)]).try_for_each(|folder| create_dir_all_in(&plan.tree, folder))
}

/// Creates a folder and its parents with `root` as the root directory: the node may have made links.
fn create_dir_all_in(root: &Path, folder: &Path) -> io::Result<()> {
    let failed = |error: Errno| {
        let message = format!("cannot create {} in {}: {error}", folder.display(), root.display());
        io::Error::new(io::Error::from(error).kind(), message)
    };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
    let how = how.resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let root = File::open(root)?;
    let mut path = PathBuf::from(".");
    for name in folder.components().filter(|part| matches!(part, Component::Normal(_))) {
        let parent = openat2(&root, &path, how).map_err(failed)?;
        match mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => path.push(name),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn mount_erofs(image: &Path, target: &Path) -> io::Result<()> {
    let output = Command::new("mount")
        .args(["-t", "erofs", "-o", "loop,ro"])
        .args([image, target])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn overlay_etc(plan: &NodePlan, defaults: &Path) -> io::Result<()> {
    let (upper, work) = (plan.etc_upper(), plan.etc_work());
    if !defaults.is_dir() {
        return Err(io::Error::other("the image has no usr/share/factory/etc"));
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", escape(defaults), escape(&upper), escape(&work));
    // overlayfs keeps the credentials of who mounts it.
    as_root_of(plan, || {
        let target = plan.tree.join("etc");
        Ok(mount(Some("etc"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
    })
}

/// Runs `work` on a thread that creates files as the node's root, with this process's capabilities.
fn as_root_of(plan: &NodePlan, work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    let Some(range) = plan.user_namespace else { return work() };
    namespace::on_thread(|| {
        setfsuid(Uid::from_raw(range.root));
        setfsgid(Gid::from_raw(range.root));
        // Some are dropped with the ID.
        let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
        caps::set(None, CapSet::Effective, &permitted).map_err(io::Error::other)?;
        work()
    })
}

/// Colons and commas separate overlayfs options.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_node_do_not_make_folders_on_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, host) = (folder.path().join("tree"), folder.path().join("host"));
        for folder in [&tree, &host] {
            std::fs::create_dir(folder).unwrap();
        }
        std::os::unix::fs::symlink(&host, tree.join("media")).unwrap();
        std::os::unix::fs::symlink("../../host", tree.join("mnt")).unwrap();
        for path in ["/media/configdrive", "/mnt/a"] {
            create_dir_all_in(&tree, Path::new(path)).unwrap_err();
        }
        std::os::unix::fs::symlink("/srv", tree.join("opt")).unwrap();
        for path in ["/srv", "/opt/a/b", "/opt/a/c"] {
            create_dir_all_in(&tree, Path::new(path)).unwrap();
        }
        assert!(tree.join("srv/a/b").is_dir() && tree.join("srv/a/c").is_dir());
        assert_eq!(std::fs::read_dir(&host).unwrap().count(), 0);
    }
}
