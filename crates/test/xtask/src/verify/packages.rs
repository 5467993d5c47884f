//! Host programs that checks run, and their installation if missing.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::show;
use crate::root_access::RootAccess;

struct Need {
    /// A name in the path, or a file.
    program: &'static str,
    /// The Debian package that contains it.
    package: &'static str,
    /// The steps that run it, or a part, if others of the step or most runs do without.
    steps: &'static [&'static str],
}

/// The part that runs machines of Vagrant: libvirt's packages are large.
pub const VAGRANT: &str = "vagrant/all";
/// A plug-in has no program.
pub const VAGRANT_LIBVIRT: &str = "/var/lib/dpkg/info/vagrant-libvirt.list";

const NEEDS: [Need; 30] = [
    Need { program: "shellcheck", package: "shellcheck", steps: &["tidy", "tests", "wants"] },
    Need { program: "codespell", package: "codespell", steps: &["tidy", "tests"] },
    Need { program: "systemd-analyze", package: "systemd", steps: &["tidy", "tests", "wants"] },
    Need { program: "openssl", package: "openssl", steps: &["tests", "wants"] },
    Need { program: "mkfs.ext4", package: "e2fsprogs", steps: &["wants"] },
    Need { program: "debsecan", package: "debsecan", steps: &["wants", "image"] },
    Need { program: "qemu-img", package: "qemu-utils", steps: &["tests"] },
    Need { program: "ruby", package: "ruby", steps: &["tests"] },
    Need { program: "script", package: "bsdutils", steps: &["tests", "ssh"] },
    Need { program: "unshare", package: "util-linux", steps: &["tests", "image"] },
    Need { program: "ip", package: "iproute2", steps: &["tests", "wants"] },
    Need { program: "nft", package: "nftables", steps: &["tests"] },
    Need { program: "iptables-nft", package: "iptables", steps: &["tests"] },
    Need { program: "docker-registry", package: "docker-registry", steps: &["tests"] },
    Need { program: "crun", package: "crun", steps: &["tests"] },
    Need { program: "busybox", package: "busybox-static", steps: &["tests"] },
    Need { program: "ssh-keygen", package: "openssh-client", steps: &["tests", "ssh"] },
    Need { program: "sshd", package: "openssh-server", steps: &["ssh"] },
    Need { program: "softhsm2-util", package: "softhsm2", steps: &["tests"] },
    Need { program: "python3", package: "python3-venv", steps: &["tuf"] },
    Need { program: "chromium-headless-shell", package: "chromium-headless-shell", steps: &["wants"] },
    Need { program: "vagrant", package: "vagrant", steps: &["wants", VAGRANT] },
    Need { program: VAGRANT_LIBVIRT, package: "vagrant-libvirt", steps: &["wants", VAGRANT] },
    Need { program: "libvirtd", package: "libvirt-daemon-system", steps: &[VAGRANT] },
    Need { program: "virsh", package: "libvirt-clients", steps: &[VAGRANT] },
    Need { program: "iptables", package: "iptables", steps: &[VAGRANT] },
    Need { program: "qemu-system-x86_64", package: "qemu-system-x86", steps: &[VAGRANT] },
    Need { program: "/usr/share/ovmf/OVMF.fd", package: "ovmf", steps: &[VAGRANT] },
    Need { program: "dnsmasq", package: "dnsmasq-base", steps: &["wants", VAGRANT] },
    Need { program: "rsync", package: "rsync", steps: &[VAGRANT] },
];

/// Why something does not run that needs root, for this reason, and these files, each with its package.
pub fn missing_file(
    files: &[(&str, &str)],
    root: Result<(), &str>,
    exists: impl Fn(&Path) -> bool,
) -> Option<String> {
    if let Err(reason) = root {
        return Some(reason.to_owned());
    }
    let (path, package) = files.iter().find(|(path, _)| !exists(Path::new(path)))?;
    Some(format!("no {path} here (apt-get install --no-install-recommends {package})"))
}

/// Disables progress output, which would clutter a log.
const QUIET: &str = "--quiet=2";

/// Installs missing programs of `steps`, names of steps or parts, if possible without a prompt. Checks report what is still missing
/// afterwards.
pub fn install_missing(steps: &[&str]) -> Result<()> {
    let missing = missing(steps, has);
    let access = RootAccess::of_this_process();
    if missing.is_empty() || !access.is_available() || !has("apt-get") {
        return Ok(());
    }
    println!("\n== packages: {}", missing.join(", "));
    // Package lists are empty on a new machine, and outdated on an old one.
    show(&mut apt_get(access, &["update", QUIET]))?;
    if install(access, &missing)? || missing.len() == 1 {
        return Ok(());
    }
    // Installed separately: an unavailable package must not block the others.
    for package in missing {
        install(access, &[package])?;
    }
    Ok(())
}

/// The packages that `steps` need and the host lacks.
pub fn missing(steps: &[&str], has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let is_run = |need: &&Need| need.steps.iter().any(|step| steps.contains(step));
    NEEDS.iter().filter(is_run).filter(|need| !has(need.program)).map(|need| need.package).collect()
}

/// Searches the sbin folders too, which a user's `PATH` may lack.
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&paths).chain(system).any(|folder| folder.join(program).is_file())
}

fn install(access: RootAccess, packages: &[&str]) -> Result<bool> {
    let arguments = [&["install", QUIET, "--yes", "--no-install-recommends"], packages].concat();
    Ok(show(&mut apt_get(access, &arguments))?.success)
}

fn apt_get(access: RootAccess, arguments: &[&str]) -> Command {
    let mut command =
        access.command(Path::new("apt-get"), &[("DEBIAN_FRONTEND", Path::new("noninteractive"))]);
    command.args(arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::parts::step_of;
    use crate::verify::steps::STEPS;

    #[test]
    fn what_the_steps_run_and_the_host_lacks_is_missing() {
        assert_eq!(missing(&["wants"], |program| program != "openssl"), ["openssl"]);
        assert_eq!(missing(&["format"], |_| false), [""; 0]);
        assert_eq!(missing(&["ssh"], |program| program == "script"), ["openssh-client", "openssh-server"]);
        // A step's name is not enough for what only its part needs.
        assert_eq!(missing(&["vagrant"], |_| false), [""; 0]);
        assert!(missing(&["vagrant/all"], |_| false).contains(&"libvirt-daemon-system"));
    }

    #[test]
    fn every_need_is_of_a_step() {
        for step in NEEDS.iter().flat_map(|need| need.steps) {
            assert!(STEPS.iter().any(|known| known.name == step_of(step)), "{step}");
        }
    }
}
