//! `keelson-installed-files`: what `coreos-install` left on the OEM partition, since ROOT does not exist before the first
//! boot, and what a customized live system has: copies the cloud-config to `/var/lib/coreos-install`, network units to
//! `/etc/systemd/network`, and certificates to `/etc/ssl/certs`.
//!
//! Once for each ROOT: what the operator removes later does not return, but a reset machine is configured again. Files
//! that exist are kept.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use service::file::replace;

use crate::root::Root;

const SOURCE: &str = "/usr/share/oem/coreos-install";
/// A file or folder below [`SOURCE`], its target, and the mode of files: networkd, which is not root, reads its units.
const COPIES: [(&str, &str, u32); 3] = [
    ("user_data", "/var/lib/coreos-install/user_data", 0o600),
    ("network", "/etc/systemd/network", 0o644),
    ("certificates", "/etc/ssl/certs", 0o644),
];
/// Exists when everything was copied.
const DONE: &str = "/var/lib/keelson/installed-files";
const MAX_FILE: u64 = 16 << 20;
const MAX_FILES: usize = 1000;
/// Folders below `network`: drop-ins.
const MAX_DEPTH: u8 = 1;

/// Copies the files of coreos-install from the OEM partition, once.
#[derive(Parser)]
#[command(name = "keelson-installed-files")]
struct Flags {
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    copy_once(&Flags::parse_from(args).root)?;
    Ok(ExitCode::SUCCESS)
}

fn copy_once(root: &Root) -> Result<()> {
    let done = root.at(DONE);
    if done.exists() {
        return Ok(());
    }
    let mut left = MAX_FILES;
    for (name, target, mode) in COPIES {
        copy(&root.at(SOURCE).join(name), &root.at(target), mode, MAX_DEPTH + 1, &mut left)?;
    }
    make_parent(&done)?;
    replace(&done, b"", 0o644).with_context(|| format!("cannot write {}", done.display()))
}

/// Copies a file, or a folder to the depth of drop-ins.
fn copy(from: &Path, to: &Path, mode: u32, depth: u8, left: &mut usize) -> Result<()> {
    let failed = || format!("cannot read {}", from.display());
    let metadata = match fs::symlink_metadata(from) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(failed),
    };
    if metadata.is_dir() && depth > 0 {
        for entry in fs::read_dir(from).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            copy(&from.join(&name), &to.join(&name), mode, depth - 1, left)?;
        }
    }
    if !metadata.is_file() || to.exists() {
        return Ok(());
    }
    *left = left.checked_sub(1).with_context(|| format!("{SOURCE} has more than {MAX_FILES} files"))?;
    let mut content = Vec::new();
    let file = fs::File::open(from).with_context(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut content).with_context(failed)?;
    if content.len() as u64 > MAX_FILE {
        bail!("{} has more than {MAX_FILE} bytes", from.display());
    }
    make_parent(to)?;
    replace(to, &content, mode).with_context(|| format!("cannot write {}", to.display()))?;
    println!("copied {} to {}", from.display(), to.display());
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn root(&self) -> Root {
            Root::from(self.0.path())
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.root().at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self, path: &str) -> Option<(String, u32)> {
            let path = self.root().at(path);
            let mode = path.metadata().ok()?.permissions().mode() & 0o777;
            Some((fs::read_to_string(path).unwrap(), mode))
        }
    }

    const USER_DATA: &str = "/var/lib/coreos-install/user_data";

    #[test]
    fn files_are_copied_once() {
        let machine = Machine::new();
        machine.put("/usr/share/oem/coreos-install/user_data", "#cloud-config\n");
        machine.put("/usr/share/oem/coreos-install/network/10-a.network", "a");
        machine.put("/usr/share/oem/coreos-install/network/10-a.network.d/b.conf", "b");
        machine.put("/usr/share/oem/coreos-install/network/20-own.network", "theirs");
        machine.put("/etc/systemd/network/20-own.network", "mine");
        machine.put("/usr/share/oem/coreos-install/certificates/own.pem", "pem");
        copy_once(&machine.root()).unwrap();
        assert_eq!(machine.read(USER_DATA), Some(("#cloud-config\n".into(), 0o600)));
        assert_eq!(machine.read("/etc/systemd/network/10-a.network"), Some(("a".into(), 0o644)));
        assert_eq!(machine.read("/etc/systemd/network/10-a.network.d/b.conf"), Some(("b".into(), 0o644)));
        assert_eq!(machine.read("/etc/systemd/network/20-own.network").unwrap().0, "mine");
        assert_eq!(machine.read("/etc/ssl/certs/own.pem"), Some(("pem".into(), 0o644)));
        // What is removed does not return, and what is changed is kept.
        fs::remove_file(machine.root().at(USER_DATA)).unwrap();
        machine.put("/etc/systemd/network/10-a.network", "changed");
        copy_once(&machine.root()).unwrap();
        assert_eq!(machine.read(USER_DATA), None);
        assert_eq!(machine.read("/etc/systemd/network/10-a.network").unwrap().0, "changed");
        // A reset machine has a new ROOT.
        fs::remove_dir_all(machine.root().at("/var")).unwrap();
        copy_once(&machine.root()).unwrap();
        assert!(machine.read(USER_DATA).is_some());
    }

    #[test]
    fn a_failed_copy_is_repeated() {
        let machine = Machine::new();
        machine.put("/usr/share/oem/coreos-install/user_data", "#cloud-config\n");
        // A file in the place of a folder.
        machine.put("/var/lib/coreos-install", "");
        let error = format!("{:#}", copy_once(&machine.root()).unwrap_err());
        assert!(error.contains("cannot create") && error.contains("var/lib/coreos-install"), "{error}");
        assert!(!machine.root().at(DONE).exists());
        fs::remove_file(machine.root().at("/var/lib/coreos-install")).unwrap();
        copy_once(&machine.root()).unwrap();
        assert!(machine.read(USER_DATA).is_some());
    }

    #[test]
    fn links_and_deep_folders_are_not_copied() {
        let machine = Machine::new();
        machine.put("/secret", "secret");
        machine.put("/usr/share/oem/coreos-install/network/a/b/c.network", "deep");
        let link = machine.root().at("/usr/share/oem/coreos-install/network/link.network");
        std::os::unix::fs::symlink(machine.root().at("/secret"), link).unwrap();
        copy_once(&machine.root()).unwrap();
        assert!(!machine.root().at("/etc/systemd/network").exists());
        assert!(machine.root().at(DONE).exists());
    }
}
