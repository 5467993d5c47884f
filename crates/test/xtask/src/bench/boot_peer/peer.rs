//! The Debian system that Keelson's boot is compared with: packages and configuration.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sandbox::Sandbox;

use super::disk::ROOT_LABEL;
use crate::command::{require_success, show_and_read};

/// Builds Debian's initrd.
const INITRD_PACKAGE: &str = "initramfs-tools";
/// Sorts after the configuration of the cluster's LAN, which is passed as a credential.
const NETWORK: &str = "etc/systemd/network/80-dhcp.network";

/// The system packages of `os/packages`, and the one that builds Debian's initrd.
pub fn packages(list: &str) -> Result<Vec<&str>> {
    let (_, system) = list.split_once("[system]\n").context("os/packages has no section [system]")?;
    let system = system.split("\n[").next().unwrap_or(system);
    let named = |line: &&str| !line.is_empty() && !line.starts_with(['-', '#']);
    let mut packages: Vec<&str> = system.lines().map(str::trim).filter(named).collect();
    if packages.is_empty() {
        bail!("section [system] of os/packages is empty");
    }
    packages.push(INITRD_PACKAGE);
    Ok(packages)
}

/// Configures `tree` to boot with networking. Its package enables the SSH server.
pub fn configure(tools: &Sandbox, tree: &Path) -> Result<()> {
    for (path, text) in [
        ("etc/fstab", format!("LABEL={ROOT_LABEL} / ext4 defaults 0 1\n")),
        (NETWORK, "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n".to_owned()),
        ("etc/hostname", "debian\n".to_owned()),
        // Empty: a first boot.
        ("etc/machine-id", String::new()),
    ] {
        let path = tree.join(path);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut enable = tools.command("systemctl")?;
    enable.arg(format!("--root={}", tree.display())).args(["enable", "systemd-networkd"]);
    require_success(show_and_read(&mut enable)?).context("cannot enable systemd-networkd")?;
    Ok(())
}

/// The version of its only kernel.
pub fn kernel(tree: &Path) -> Result<String> {
    let boot = tree.join("boot");
    let failed = || format!("cannot list {}", boot.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&boot).with_context(failed)? {
        let name = entry.with_context(failed)?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_prefix("vmlinuz-")).map(str::to_owned));
    }
    let [version] = &found[..] else { bail!("{} has {} kernels", boot.display(), found.len()) };
    Ok(version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_of_the_system_that_are_not_left_out() {
        let list = "# a\n\n[system]\n# b\nlinux\n\n-adduser\nudev \n\n[tools]\nqemu\n";
        assert_eq!(packages(list).unwrap(), ["linux", "udev", INITRD_PACKAGE]);
        assert!(packages("[tools]\nqemu\n").is_err());
        assert!(packages("[system]\n-adduser\n[tools]\nqemu\n").is_err());
    }

    #[test]
    fn the_checkout_s_packages_are_read() {
        let list = fs::read_to_string(crate::workspace::root().join("os/packages")).unwrap();
        let packages = packages(&list).unwrap();
        assert!(packages.contains(&"linux-image-amd64") && packages.contains(&"openssh-server"));
        assert!(!packages.contains(&"qemu-utils"), "of the tools");
        assert_eq!(packages.iter().filter(|name| **name == INITRD_PACKAGE).count(), 1);
    }

    #[test]
    fn there_is_one_kernel() {
        let tree = tempfile::tempdir().unwrap();
        let boot = tree.path().join("boot");
        fs::create_dir(&boot).unwrap();
        fs::write(boot.join("initrd.img-6.12.1"), "").unwrap();
        assert!(kernel(tree.path()).is_err());
        fs::write(boot.join("vmlinuz-6.12.1"), "").unwrap();
        assert_eq!(kernel(tree.path()).unwrap(), "6.12.1");
        fs::write(boot.join("vmlinuz-6.12.2"), "").unwrap();
        assert!(kernel(tree.path()).is_err());
    }
}
