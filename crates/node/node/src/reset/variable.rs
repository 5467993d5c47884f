//! The EFI variable that requests a factory reset from systemd.
//!
//! systemd-repart 257 reads systemd's `FactoryReset` as a UTF-16 boolean, in the initrd only, and then removes
//! it. efivarfs prefixes values with four bytes of attributes, requires a single write, and sets the immutable
//! flag on existing variables.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::root::Root;

const FOLDER: &str = "/sys/firmware/efi/efivars";
const NAME: &str = "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67";
/// Non-volatile, boot service access, runtime access.
const ATTRIBUTES: u32 = 0x1 | 0x2 | 0x4;
/// A boolean for systemd. The initrd of Keelson also erases the OEM partition if it is [`VALUE_WITH_OEM`].
const VALUE: &str = "1";
const VALUE_WITH_OEM: &str = "on";
/// systemd stores the container type here.
const CONTAINER: &str = "/run/systemd/container";

/// What the next boot erases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Root,
    RootAndOem,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("this machine is a container ({kind}) and has no EFI variables to request a reset")]
    Container { kind: String },
    #[error("this machine has no EFI variables in {0}")]
    NoVariables(PathBuf),
    #[error("cannot write the EFI variable {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl RequestError {
    /// What to do instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Container { .. } => {
                Some("on the host, `cargo keelson destroy` and `cargo keelson up` recreate it")
            }
            Self::NoVariables(_) => {
                Some("boot once with systemd.factory_reset=yes on the kernel command line")
            }
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Some("use sudo keelson-reset"),
                io::ErrorKind::ReadOnlyFilesystem => {
                    Some("sudo mount -o remount,rw /sys/firmware/efi/efivars, then retry")
                }
                _ => Some("boot once with systemd.factory_reset=yes on the kernel command line"),
            },
        }
    }
}

/// Whether this machine supports the request.
pub fn check(root: &Root) -> Result<(), RequestError> {
    if let Ok(kind) = fs::read_to_string(root.at(CONTAINER)) {
        return Err(RequestError::Container { kind: kind.trim().to_owned() });
    }
    let folder = root.at(FOLDER);
    // Without efivarfs the folder exists but is empty.
    let is_mounted = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_mounted { Ok(()) } else { Err(RequestError::NoVariables(folder)) }
}

/// Sets the variable; idempotent.
pub fn request(root: &Root, scope: Scope) -> Result<(), RequestError> {
    check(root)?;
    let path = root.at(FOLDER).join(NAME);
    set(&path, &content(scope)).map_err(|source| RequestError::Write { path, source })
}

/// The attributes and the null-terminated UTF-16 text.
fn content(scope: Scope) -> Vec<u8> {
    let value = match scope {
        Scope::Root => VALUE,
        Scope::RootAndOem => VALUE_WITH_OEM,
    };
    let text = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
    ATTRIBUTES.to_le_bytes().into_iter().chain(text).collect()
}

fn set(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::read(path) {
        Ok(present) if present == content => return Ok(()),
        Ok(_) => allow_writing(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Not truncated: an empty value would delete the variable.
    let mut variable = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let written = variable.write(content)?;
    if written == content.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn allow_writing(path: &Path) -> io::Result<()> {
    let variable = File::open(path)?;
    // Other file systems have no such flag.
    let Ok(flags) = ioctl_getflags(&variable) else { return Ok(()) };
    if flags.contains(IFlags::IMMUTABLE) {
        ioctl_setflags(&variable, flags - IFlags::IMMUTABLE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(FOLDER)).unwrap();
        fs::write(root.at(FOLDER).join("BootOrder-8be4df61"), "x").unwrap();
        (folder, root)
    }

    #[test]
    fn variable_is_a_persistent_true() {
        let (_folder, root) = machine();
        request(&root, Scope::Root).unwrap();
        let path = root.at(FOLDER).join(NAME);
        assert_eq!(fs::read(&path).unwrap(), [7, 0, 0, 0, b'1', 0, 0, 0]);
        request(&root, Scope::Root).unwrap();
        fs::write(&path, [7, 0, 0, 0, b'0', 0, 0, 0]).unwrap();
        request(&root, Scope::Root).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7, 0, 0, 0, b'1', 0, 0, 0]);
        request(&root, Scope::RootAndOem).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7, 0, 0, 0, b'o', 0, b'n', 0, 0, 0]);
    }

    #[test]
    fn container_error_has_a_hint() {
        let (_folder, root) = machine();
        fs::create_dir_all(root.at("/run/systemd")).unwrap();
        fs::write(root.at(CONTAINER), "systemd-nspawn\n").unwrap();
        let error = request(&root, Scope::Root).unwrap_err();
        assert!(error.to_string().contains("container (systemd-nspawn)"), "{error}");
        assert!(error.hint().unwrap().contains("destroy"));
        assert!(!root.at(FOLDER).join(NAME).exists());
    }

    #[test]
    fn machine_without_efi_variables() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert!(matches!(request(&root, Scope::Root), Err(RequestError::NoVariables(_))));
        fs::create_dir_all(root.at(FOLDER)).unwrap();
        assert!(
            matches!(request(&root, Scope::Root), Err(RequestError::NoVariables(_))),
            "an empty folder is no efivarfs"
        );
    }

    #[test]
    fn write_error_has_its_cause() {
        let (_folder, root) = machine();
        fs::create_dir(root.at(FOLDER).join(NAME)).unwrap();
        let error = request(&root, Scope::Root).unwrap_err();
        assert!(service::error::chain(&error).contains(": "), "{}", service::error::chain(&error));
        assert!(matches!(error, RequestError::Write { .. }));
    }
}
