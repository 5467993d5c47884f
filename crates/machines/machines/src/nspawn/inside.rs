//! The file systems of an nspawn node, mounted in the keeper's own mount namespace.
//!
//! `/usr` is the image's erofs, or the same content as a folder where the host cannot mount it; `/etc` is
//! an overlay over the image's defaults; everything else is the node's own directory.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::plan::NodePlan;

/// Directories that a root needs before systemd makes the rest.
const DIRECTORIES: [&str; 15] = [
    "usr", "etc", "var", "home", "root", "proc", "sys", "dev", "run", "tmp", "opt", "srv", "mnt", "media",
    "boot",
];
const LINKS: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")];
const NONE: Option<&str> = None;

/// Leaves the host's mount namespace, mounts the node's root at `keeper.tree`, and shows shared folders below
/// the node's own, which is all that the program from the tools tree sees of the host.
pub fn mount_root(keeper: &NodePlan) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    make_skeleton(&keeper.tree)?;
    let usr = keeper.tree.join("usr");
    if let Err(error) = mount_erofs(&keeper.usr_erofs, &usr) {
        let inner = keeper.usr_tree.join("usr");
        if !keeper.usr_tree.exists() {
            let said = format!("/usr cannot be mounted ({error}), and there is no folder with its content");
            return Err(io::Error::other(said));
        }
        eprintln!("/usr is a bound folder: {error}");
        bind_read_only(if inner.is_dir() { &inner } else { &keeper.usr_tree }, &usr)?;
    }
    overlay_etc(keeper, &usr.join("share/factory/etc"))?;
    for (place, folder) in keeper.shared.iter().enumerate() {
        let shown = keeper.shown(place);
        std::fs::create_dir_all(&shown)?;
        mount(Some(&folder.host), &shown, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
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

fn overlay_etc(keeper: &NodePlan, defaults: &Path) -> io::Result<()> {
    let (upper, work) = (keeper.etc.join("upper"), keeper.etc.join("work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    if !defaults.is_dir() {
        return Err(io::Error::other("the image has no usr/share/factory/etc"));
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", escape(defaults), escape(&upper), escape(&work));
    Ok(mount(
        Some("etc"),
        &keeper.tree.join("etc"),
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )?)
}

/// Colons and commas divide overlayfs's options.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}
