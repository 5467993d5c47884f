//! What a node is told before its user-data, as systemd credentials: its name, its LAN address, the host's
//! name, and the folders that the host shares with it.
//!
//! systemd's generators and our own set-up read them (`network.network.NAME` becomes a file of
//! `/run/systemd/network`, `fstab.extra` further lines of fstab), so the image needs to know nothing about us.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::certificates;
use crate::cluster::{BackendKind, Cluster, HOST_NAME, LAN_PREFIX, Node};

/// Sorts before the image's own files, so that it wins for this interface.
pub const LAN_NAME: &str = "network.network.70-lan";

/// The node's name until its user-data or its config drive says another.
pub const HOSTNAME: &str = "system.hostname";

/// Lines for `/etc/hosts`, read by `coreos-setup-environment` and coreos-cloudinit.
pub const HOSTS: &str = "keelson.hosts";

/// Further lines of fstab, read by systemd's own generator.
pub const MOUNTS: &str = "fstab.extra";

/// Variables that count least for the node's `etcd`.
pub const ETCD: &str = "etcd.environment";

/// Settings of the node's `fleetd`; its image makes `/etc/fleet/fleet.conf` of them, and user-data counts more.
pub const FLEET: &str = "fleet.conf";

/// Variables that count least for the node's `locksmithd`.
pub const LOCKSMITH: &str = "locksmith.environment";

/// Settings of the node's updates, from its next start; what stands in its `/etc/coreos/update.conf` counts more.
pub const UPDATE: &str = "update.conf";

/// All credentials of a node: name and content.
#[must_use]
pub fn all(cluster: &Cluster, node: &Node) -> Vec<(String, String)> {
    let mut all = vec![
        (LAN_NAME.to_owned(), lan_network(node)),
        (HOSTNAME.to_owned(), node.name.clone()),
        (HOSTS.to_owned(), format!("{} {HOST_NAME}\n", cluster.backend.host_address())),
    ];
    if let Some(discovery) = &cluster.discovery {
        let tls = if cluster.tls { certificates::variables() } else { String::new() };
        all.push((ETCD.to_owned(), format!("ETCD_DISCOVERY={}\n{tls}", discovery.url)));
    }
    let mut updates = String::new();
    // A machine has its channel on its own disk.
    if cluster.backend == BackendKind::Nspawn {
        updates.extend(["GROUP=", &cluster.image.channel, "\n"]);
    }
    if let Some(server) = &cluster.update_server {
        updates.extend(["SERVER=", server, "\n"]);
    }
    if !updates.is_empty() {
        all.push((UPDATE.to_owned(), updates));
    }
    if cluster.tls {
        all.push((FLEET.to_owned(), certificates::fleet_settings()));
        all.push((LOCKSMITH.to_owned(), certificates::locksmith_variables()));
    }
    // A container has its shared folders as binds, made before it starts.
    if cluster.backend == BackendKind::Qemu && !cluster.shared.is_empty() {
        all.push((MOUNTS.to_owned(), mounts(cluster)));
    }
    all
}

/// The `.network` file of the node's LAN interface. LLMNR makes the nodes find each other by name.
/// The interface counts for network-online.target: in an nspawn node it is the only one.
fn lan_network(node: &Node) -> String {
    format!(
        "[Match]\nMACAddress={}\n\n[Network]\nAddress={}/{LAN_PREFIX}\n\
         LLMNR=yes\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        node.mac, node.address
    )
}

/// The tag by which QEMU offers the shared folder with this index.
#[must_use]
pub fn share_tag(index: usize) -> String {
    format!("share{index}")
}

const SHARE_OPTIONS: &str =
    "trans=virtio,version=9p2000.L,msize=262144,nofail,x-systemd.requires=modprobe@9pnet_virtio.service";

/// The fstab lines of shared folders. `nofail`: a machine must boot even if its folder was removed. The mount requires
/// the module: 9pnet_virtio registers its transport before it probes its devices, and a mount that runs while udev
/// loads the module fails with "no channels available".
fn mounts(cluster: &Cluster) -> String {
    let mut lines = String::new();
    for (index, folder) in cluster.shared.iter().enumerate() {
        let (tag, guest) = (share_tag(index), &folder.guest);
        // invariant: writing to a String cannot fail.
        writeln!(lines, "{tag} {guest} 9p {SHARE_OPTIONS} 0 0").unwrap_or_default();
    }
    lines
}

/// The file of a secret credential as QEMU reads it: on its command line, everybody could.
#[must_use]
pub fn smbios_file(node_root: &Path, name: &str) -> PathBuf {
    node_root.join("smbios").join(name)
}

/// The SMBIOS string by which QEMU hands over a binary credential.
#[must_use]
pub fn smbios(name: &str, content: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Wish;
    use crate::cluster::tests::image;

    #[test]
    fn where_to_ask_for_updates_is_told_where_it_was_said() {
        let mut cluster = Cluster::new("default", &Wish::default(), image());
        let told = |cluster: &Cluster| {
            all(cluster, &cluster.nodes[0]).into_iter().find(|(name, _)| name == UPDATE).map(|(_, text)| text)
        };
        assert_eq!(told(&cluster), None);
        cluster.update_server = Some("http://a/v1/update/".to_owned());
        assert_eq!(told(&cluster).as_deref(), Some("SERVER=http://a/v1/update/\n"));
    }

    #[test]
    fn who_asks_a_store_of_tls_is_told_by_the_files_that_a_node_gets() {
        for (credential, first) in [
            (FLEET, "etcd_servers=https://127.0.0.1:2379\n"),
            (LOCKSMITH, "LOCKSMITHD_ENDPOINT=https://127.0.0.1:2379\n"),
        ] {
            let told = |tls| {
                let cluster = Cluster::new("default", &Wish { tls, ..Wish::default() }, image());
                all(&cluster, &cluster.nodes[0]).into_iter().find(|(name, _)| name == credential)
            };
            assert_eq!(told(false), None, "its defaults are right");
            let settings = told(true).unwrap().1;
            assert!(settings.starts_with(first), "{settings}");
            let files = settings.lines().filter_map(|line| line.split_once(certificates::FOLDER));
            let names: Vec<_> = files.map(|(_, name)| name.trim_start_matches('/')).collect();
            assert_eq!(names, ["ca.pem", "client.pem", "client-key.pem"]);
            let issued = |name: &&str| certificates::CREDENTIALS.iter().any(|(_, file)| file == name);
            assert!(names.iter().all(issued), "{settings}");
        }
    }
}
