//! The programs that run machines of an image that was not built here: the checkout's tools tree or the host's own.

use std::path::{Path, PathBuf};

use anyhow::bail;
use image::build::Options;
use image::build::locked_tools::LockedTools;
use machines::cluster::BackendKind;
use netboot::catalog::Loaders;

use crate::checkout::find_checkout;
use crate::context::Context;

/// The host's root as a tools tree.
const HOST: &str = "/";
/// Downloads the checkout's tools; relative to the host's root.
const APT: &str = "usr/lib/apt/apt-helper";
/// The programs of Debian's package ipxe.
const IPXE: &str = "usr/lib/ipxe";
/// The program that writes ISO 9660 images.
const XORRISO: &str = "usr/bin/xorriso";
/// Host programs that replace the checkout's tools, and their Debian packages.
const HOST_PROGRAMS: [(&str, &str); 3] =
    [("usr/bin/qemu-img", "qemu-utils"), ("usr/bin/mcopy", "mtools"), ("usr/sbin/debugfs", "e2fsprogs")];
/// Additional host programs for QEMU machines.
const HOST_QEMU: [(&str, &str); 2] =
    [("usr/bin/qemu-system-x86_64", "qemu-system-x86"), ("usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")];

/// A tools tree: the checkout's or the host itself.
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

/// The programs that run machines of an image that was not built here.
pub fn tools(context: &Context, on: Option<BackendKind>) -> anyhow::Result<MachineTools> {
    let host = Path::new(HOST);
    match fetchable_checkout(find_checkout()?, host) {
        Ok(checkout) => {
            let tools =
                image::build::locked_tools::tools(&Options::for_checkout(&checkout), context.progress)?;
            Ok(MachineTools::Locked(tools))
        }
        Err(reason) => match missing_packages(host, on) {
            missing_packages if missing_packages.is_empty() => Ok(MachineTools::Host),
            missing_packages => {
                bail!("{reason}; missing packages on this host: {}", missing_packages.join(", "))
            }
        },
    }
}

/// The folder of iPXE's programs: the host's, or else the one in the checkout's tools tree, which must not be removed
/// while the programs are served.
pub fn ipxe(context: &Context) -> anyhow::Result<(PathBuf, MachineTools)> {
    let host = Path::new(HOST);
    let has_loader = Loaders::find(&host.join(IPXE)).efi().is_some();
    let tools = match fetchable_checkout(find_checkout()?, host) {
        Ok(checkout) if !has_loader => {
            let tools =
                image::build::locked_tools::tools(&Options::for_checkout(&checkout), context.progress)?;
            MachineTools::Locked(tools)
        }
        _ => MachineTools::Host,
    };
    Ok((tools.path().join(IPXE), tools))
}

/// A tree with xorriso: the checkout's tools, or else the host.
pub fn xorriso(context: &Context) -> anyhow::Result<MachineTools> {
    let host = Path::new(HOST);
    match fetchable_checkout(find_checkout()?, host) {
        Ok(checkout) => {
            let tools =
                image::build::locked_tools::tools(&Options::for_checkout(&checkout), context.progress)?;
            Ok(MachineTools::Locked(tools))
        }
        Err(_) if host.join(XORRISO).exists() => Ok(MachineTools::Host),
        Err(reason) => bail!(
            "{reason}, and this host has no xorriso\nhint: apt-get install xorriso, or write a .vfat, which needs none"
        ),
    }
}

/// The checkout whose tools can be downloaded, or the reason why there is none.
fn fetchable_checkout(checkout: Option<PathBuf>, host: &Path) -> Result<PathBuf, &'static str> {
    let checkout =
        checkout.ok_or("not in a checkout of Keelson, so the programs that run images cannot be fetched")?;
    let has_apt = host.join(APT).exists();
    has_apt
        .then_some(checkout)
        .ok_or("this host has no apt, so the programs that run images cannot be fetched")
}

fn missing_packages(host: &Path, on: Option<BackendKind>) -> Vec<&'static str> {
    let qemu = HOST_QEMU.iter().filter(|_| on != Some(BackendKind::Nspawn));
    let missing = HOST_PROGRAMS.iter().chain(qemu).filter(|(file, _)| !host.join(file).exists());
    missing.map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_packages_of_the_host_are_listed() {
        let host = tempfile::tempdir().unwrap();
        assert_eq!(
            missing_packages(host.path(), Some(BackendKind::Nspawn)),
            ["qemu-utils", "mtools", "e2fsprogs"]
        );
        for (file, _) in HOST_PROGRAMS {
            let path = host.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert!(missing_packages(host.path(), Some(BackendKind::Nspawn)).is_empty());
        assert_eq!(missing_packages(host.path(), None), ["qemu-system-x86", "ovmf"]);
    }

    #[test]
    fn a_host_without_apt_runs_images_with_its_own_programs() {
        let host = tempfile::tempdir().unwrap();
        let checkout = Some(PathBuf::from("/checkout"));
        assert!(fetchable_checkout(checkout.clone(), host.path()).unwrap_err().contains("has no apt"));
        std::fs::create_dir_all(host.path().join("usr/lib/apt")).unwrap();
        std::fs::write(host.path().join(APT), "").unwrap();
        assert_eq!(fetchable_checkout(checkout.clone(), host.path()).ok(), checkout);
        assert!(fetchable_checkout(None, host.path()).unwrap_err().contains("not in a checkout"));
    }
}
