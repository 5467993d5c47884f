//! The file systems of an nspawn node, mounted in the supervisor's mount namespace.
//!
//! `/usr` is the image's erofs, or a folder with the same content if the host cannot mount erofs. `/etc` is an
//! overlay over the image's defaults. Everything else is the node's own directory.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::plan::NodePlan;

/// Directories that must exist before systemd creates the others.
const DIRECTORIES: [&str; 15] = [
    "usr", "etc", "var", "home", "root", "proc", "sys", "dev", "run", "tmp", "opt", "srv", "mnt", "media",
    "boot",
];
const LINKS: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")];
const NONE: Option<&str> = None;

/// Enters a new mount namespace, mounts the node's root at `plan.tree` and binds shared folders below the node's
/// folder, which is all that programs of the tools tree see of the host.
pub fn mount_root(plan: &NodePlan) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    make_skeleton(&plan.tree)?;
    let usr = plan.tree.join("usr");
    if let Err(error) = mount_erofs(&plan.usr_erofs, &usr) {
        let inner = plan.usr_tree.join("usr");
        if !plan.usr_tree.exists() {
            let said = format!("cannot mount /usr ({error}), and the unpacked /usr does not exist");
            return Err(io::Error::other(said));
        }
        eprintln!("/usr is a bind mount of the unpacked folder, because erofs cannot be mounted: {error}");
        bind_read_only(if inner.is_dir() { &inner } else { &plan.usr_tree }, &usr)?;
    }
    overlay_etc(plan, &usr.join("share/factory/etc"))?;
    for (index, folder) in plan.shared.iter().enumerate() {
        let mount_point = plan.shared_mount_point(index);
        std::fs::create_dir_all(&mount_point)?;
        mount(Some(&folder.host), &mount_point, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    }
    Ok(())
}

fn make_skeleton(tree: &Path) -> io::Result<()> {
    for name in DIRECTORIES {
        std::fs::create_dir_all(tree.join(name))?;
    }
    for (name, target) in LINKS {
        match std::os::unix::fs::symlink(target, tree.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
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

fn bind_read_only(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND, NONE)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    Ok(mount(NONE, to, NONE, flags, NONE)?)
}

fn overlay_etc(plan: &NodePlan, defaults: &Path) -> io::Result<()> {
    let (upper, work) = (plan.etc.join("upper"), plan.etc.join("work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    if !defaults.is_dir() {
        return Err(io::Error::other("the image has no usr/share/factory/etc"));
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", escape(defaults), escape(&upper), escape(&work));
    Ok(mount(Some("etc"), &plan.tree.join("etc"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
}

/// Colons and commas separate overlayfs options.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}
