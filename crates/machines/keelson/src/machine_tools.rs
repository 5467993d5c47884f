//! The programs that run machines of an image that was not built here: the checkout's tools tree, else the host's own.

use std::path::{Path, PathBuf};

use anyhow::bail;
use image::build::{LockedTools, Options};
use machines::cluster::BackendKind;

use crate::checkout::find_checkout;
use crate::context::Context;

/// The host as a tools tree.
const HOST: &str = "/";
/// What fetches the checkout's tools, below the host's root.
const APT: &str = "usr/lib/apt/apt-helper";
/// Programs that are used of a host where the checkout's tools cannot be had, and Debian's packages of them.
const HOST_PROGRAMS: [(&str, &str); 3] =
    [("usr/bin/qemu-img", "qemu-utils"), ("usr/bin/mcopy", "mtools"), ("usr/sbin/debugfs", "e2fsprogs")];
/// The same for machines in QEMU.
const HOST_QEMU: [(&str, &str); 2] =
    [("usr/bin/qemu-system-x86_64", "qemu-system-x86"), ("usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")];

/// A tools tree: the checkout's, else the host itself.
#[derive(Debug)]
pub enum MachineTools {
    Locked(LockedTools),
    Host,
}

impl MachineTools {
    pub fn path(&self) -> &Path {
        match self {
            Self::Locked(tools) => &tools.path,
            Self::Host => Path::new(HOST),
        }
    }
}

/// What runs machines of an image that was not built here.
pub fn tools(context: &Context, on: Option<BackendKind>) -> anyhow::Result<MachineTools> {
    let host = Path::new(HOST);
    match fetching(find_checkout()?, host) {
        Ok(checkout) => {
            let tools = image::build::tools(&Options::for_checkout(&checkout), context.progress)?;
            Ok(MachineTools::Locked(tools))
        }
        Err(why) => match lacking(host, on) {
            lacking if lacking.is_empty() => Ok(MachineTools::Host),
            lacking => bail!("{why}; this host lacks {}", lacking.join(", ")),
        },
    }
}

/// The checkout whose tools can be fetched, else why there are none.
fn fetching(checkout: Option<PathBuf>, host: &Path) -> Result<PathBuf, &'static str> {
    let checkout =
        checkout.ok_or("this is no checkout of Keelson, which would bring the programs that run images")?;
    let can = host.join(APT).exists();
    can.then_some(checkout).ok_or("without apt the programs that run images cannot be fetched")
}

/// Packages of the programs that a host does not have.
fn lacking(host: &Path, on: Option<BackendKind>) -> Vec<&'static str> {
    let qemu = HOST_QEMU.iter().filter(|_| on != Some(BackendKind::Nspawn));
    let missing = HOST_PROGRAMS.iter().chain(qemu).filter(|(file, _)| !host.join(file).exists());
    missing.map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_checkout_is_told_what_it_lacks() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(lacking(host.path(), Some(BackendKind::Nspawn)), ["qemu-utils", "mtools", "e2fsprogs"]);
        for (file, _) in HOST_PROGRAMS {
            let path = host.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert!(lacking(host.path(), Some(BackendKind::Nspawn)).is_empty());
        assert_eq!(lacking(host.path(), None), ["qemu-system-x86", "ovmf"]);
    }

    #[test]
    fn a_host_without_apt_runs_images_with_its_own_programs() {
        let host = tempfile::tempdir().unwrap();
        let checkout = Some(PathBuf::from("/checkout"));
        assert!(fetching(checkout.clone(), host.path()).unwrap_err().contains("without apt"));
        std::fs::create_dir_all(host.path().join("usr/lib/apt")).unwrap();
        std::fs::write(host.path().join(APT), "").unwrap();
        assert_eq!(fetching(checkout.clone(), host.path()).ok(), checkout);
        assert!(fetching(None, host.path()).unwrap_err().contains("no checkout"));
    }
}
