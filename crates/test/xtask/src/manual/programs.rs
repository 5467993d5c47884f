//! The documented programs.

/// A program name that users type or that a unit starts.
#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    /// Cargo's name of the file; several programs are one file that dispatches on `argv[0]`.
    pub binary: &'static str,
    /// Section of the manual: 1 for user commands, 8 for daemons and administration.
    pub section: u8,
    /// One line, as `whatis` prints it.
    pub summary: &'static str,
}

const fn program(name: &'static str, binary: &'static str, section: u8, summary: &'static str) -> Program {
    Program { name, binary, section, summary }
}

/// Sorted by name.
pub const PROGRAMS: [Program; 28] = [
    program("coreos-cloudinit", "coreos-cloudinit", 8, "apply cloud-config to a machine"),
    program("coreos-install", "coreos-install", 8, "install the system to a disk"),
    program("coreos-setup-environment", "node", 8, "write the machine's addresses to /etc/environment"),
    program("etcd", "etcd", 8, "distributed key-value store"),
    program("etcd-discovery", "etcd-discovery", 8, "discovery service for new etcd clusters"),
    program("etcdctl", "etcdctl", 1, "command-line client of etcd"),
    program("flanneld", "flanneld", 8, "network fabric for containers: a subnet per host"),
    program("fleetctl", "fleetctl", 1, "command-line client of the cluster manager"),
    program("fleetd", "fleetd", 8, "cluster manager: runs systemd units on the machines of a cluster"),
    program("keelson", "keelson", 1, "build images, boot machines, publish releases"),
    program("keelson-cluster-addresses", "node", 8, "open the cluster's ports for its addresses"),
    program(
        "keelson-command-line-keys",
        "node",
        8,
        "print the kernel command line's SSH keys as a cloud-config",
    ),
    program("keelson-config-media", "node", 8, "decide which disks may provide cloud-config"),
    program("keelson-etc", "node", 8, "list and revert local changes of /etc"),
    program("keelson-health-check", "node", 8, "check whether a boot succeeded"),
    program("keelson-installed-files", "node", 8, "copy the files of coreos-install at the first boot"),
    program("keelson-motd", "node", 8, "print the message of the day"),
    program("keelson-ready", "node", 8, "report a finished boot to the host"),
    program("keelson-reset", "node", 8, "reset a machine to its factory state"),
    program(
        "keelson-unattended-install",
        "node",
        8,
        "install a live system as the kernel command line demands",
    ),
    program("locksmithctl", "locksmithd", 1, "command-line client of the reboot lock"),
    program("locksmithd", "locksmithd", 8, "reboot coordinator"),
    program("mk-docker-opts.sh", "flanneld", 8, "write Docker's options for the subnet of flannel"),
    program("rkt", "rkt", 1, "run containers without a daemon"),
    program("update-agent", "update-agent", 8, "status, slots and manual updates of a machine"),
    program("update_engine", "update-agent", 8, "update daemon"),
    program("update_engine_client", "update-agent", 1, "command-line client of the update daemon"),
    program(
        "xtask",
        "xtask",
        1,
        "checks and benchmarks of a checkout: cargo verify, cargo fix-all, cargo xtask",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_programs;

    /// Other names of programs that have a page, and what neither users nor units start by this name.
    const WITHOUT_PAGE: [&str; 5] = ["etcd2", "flannel-wrapper", "fleet", "initrd", "node"];

    #[test]
    fn every_program_of_the_node_has_a_page() {
        for program in node_programs::read(&crate::workspace::root()).unwrap() {
            for name in program.names().filter(|name| !WITHOUT_PAGE.contains(name)) {
                let page = PROGRAMS.iter().find(|page| page.name == name);
                assert_eq!(page.map(|page| page.binary), Some(&*program.binary), "{name}");
            }
        }
    }
}
