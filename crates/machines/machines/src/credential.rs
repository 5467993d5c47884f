//! systemd credentials that configure a node before its user-data: its name, its LAN address, the host's name, and
//! shared folders.
//!
//! systemd's generators and our own set-up read them (`network.network.NAME` becomes a file in
//! `/run/systemd/network`, `fstab.extra` adds lines to fstab), so the image contains nothing that is specific to
//! keelson.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::certificates;
use crate::cluster::{BackendKind, Cluster, Datasource, HOST_NAME, LAN_PREFIX, Node};

/// Sorts before the image's own files, so it takes precedence for this interface.
pub const LAN_NAME: &str = "network.network.70-lan";

/// The interface of a container's uplink.
pub const UPLINK_INTERFACE: &str = "uplink0";

pub const UPLINK: &str = "network.network.71-uplink";

/// The node's name, unless its user-data or its config drive sets another.
pub const HOSTNAME: &str = "system.hostname";

/// Lines for `/etc/hosts`, read by `coreos-setup-environment` and coreos-cloudinit.
pub const HOSTS: &str = "keelson.hosts";

/// Additional fstab lines, read by systemd's generator.
pub const MOUNTS: &str = "fstab.extra";

/// Variables of the node's `etcd`, with the lowest precedence.
pub const ETCD: &str = "etcd.environment";

/// Settings of the node's `fleetd`; the image writes them to `/etc/fleet/fleet.conf`, and user-data takes precedence.
pub const FLEET: &str = "fleet.conf";

/// Variables of the node's `locksmithd`, with the lowest precedence.
pub const LOCKSMITH: &str = "locksmith.environment";

/// Update settings of the node, from its next start; its `/etc/coreos/update.conf` takes precedence.
pub const UPDATE: &str = "update.conf";

/// The registration token of the update server: a secret. The image writes it to `/run/coreos/registration.token`.
pub const REGISTRATION: &str = "update.registration";

/// All credentials of a node that are no secrets: name and content.
#[must_use]
pub fn all(cluster: &Cluster, node: &Node) -> Vec<(String, String)> {
    let mut all = vec![
        (LAN_NAME.to_owned(), lan_network(cluster, node)),
        (HOSTNAME.to_owned(), node.name.clone()),
        (HOSTS.to_owned(), format!("{} {HOST_NAME}\n", cluster.backend.host_address())),
    ];
    if cluster.backend == BackendKind::Nspawn && cluster.outbound {
        all.push((UPLINK.to_owned(), uplink_network()));
    }
    if let Some(discovery) = &cluster.discovery {
        let tls = if cluster.tls { certificates::variables() } else { String::new() };
        all.push((ETCD.to_owned(), format!("ETCD_DISCOVERY={}\n{tls}", discovery.url)));
    }
    let mut updates = String::new();
    // A QEMU machine has its channel on its own disk.
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
    // Shared folders of a container are bind mounts.
    if cluster.backend == BackendKind::Qemu && !cluster.shared.is_empty() {
        all.push((MOUNTS.to_owned(), mounts(cluster)));
    }
    all
}

/// The `.network` file of the node's LAN interface. LLMNR resolves the nodes' names. The interface counts for
/// network-online.target: in an nspawn node without an uplink it is the only one.
fn lan_network(cluster: &Cluster, node: &Node) -> String {
    let lan = format!(
        "[Match]\nMACAddress={}\n\n[Network]\nAddress={}/{LAN_PREFIX}\n\
         LLMNR=yes\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        node.mac, node.address
    );
    if cluster.datasource == Datasource::Platform { lan + METADATA_SERVICE } else { lan }
}

/// The way to a metadata service on the LAN, to Azure's fabric, and the names that they resolve: what clouds announce by
/// DHCP.
const METADATA_SERVICE: &str = "DNS=169.254.169.254\nDomains=~google.internal ~metadata.packet.net\n\n\
     [Route]\nDestination=169.254.169.254/32\nScope=link\n\n[Route]\nDestination=168.63.129.16/32\nScope=link\n";

/// The `.network` file of a container's uplink, with slirp's fixed addresses, as in QEMU's user network: 10.0.2.2 is
/// the gateway, 10.0.2.3 forwards to the host's name servers.
fn uplink_network() -> String {
    format!(
        "[Match]\nName={UPLINK_INTERFACE}\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nDNS=10.0.2.3\n\
         LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
}

/// The 9p tag of the shared folder with this index.
#[must_use]
pub fn share_tag(index: usize) -> String {
    format!("share{index}")
}

const SHARE_OPTIONS: &str =
    "trans=virtio,version=9p2000.L,msize=262144,nofail,x-systemd.requires=modprobe@9pnet_virtio.service";

/// The fstab lines of shared folders. `nofail`: a machine must boot even if the folder was removed. The mount
/// requires the module: 9pnet_virtio registers its transport before it probes its devices, and a mount that runs
/// while udev loads the module fails with "no channels available".
fn mounts(cluster: &Cluster) -> String {
    let mut lines = String::new();
    for (index, folder) in cluster.shared.iter().enumerate() {
        let (tag, guest) = (share_tag(index), &folder.guest);
        // invariant: writing to a String cannot fail.
        writeln!(lines, "{tag} {guest} 9p {SHARE_OPTIONS} 0 0").unwrap_or_default();
    }
    lines
}

/// The file from which QEMU reads a secret credential; its command line is world-readable.
#[must_use]
pub fn smbios_file(node_root: &Path, name: &str) -> PathBuf {
    node_root.join("smbios").join(name)
}

/// The SMBIOS string by which QEMU passes a binary credential.
#[must_use]
pub fn smbios(name: &str, content: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterSpec;
    use crate::cluster::tests::image;

    #[test]
    fn the_update_server_is_passed_when_set() {
        let mut cluster = Cluster::new("default", &ClusterSpec::default(), image());
        let content = |cluster: &Cluster| {
            all(cluster, &cluster.nodes[0]).into_iter().find(|(name, _)| name == UPDATE).map(|(_, text)| text)
        };
        assert_eq!(content(&cluster), None);
        cluster.update_server = Some("http://a/v1/update/".to_owned());
        assert_eq!(content(&cluster).as_deref(), Some("SERVER=http://a/v1/update/\n"));
    }

    #[test]
    fn tls_clients_are_configured_with_the_issued_files() {
        for (credential, first) in [
            (FLEET, "etcd_servers=https://127.0.0.1:2379\n"),
            (LOCKSMITH, "LOCKSMITHD_ENDPOINT=https://127.0.0.1:2379\n"),
        ] {
            let content = |tls| {
                let cluster =
                    Cluster::new("default", &ClusterSpec { tls, ..ClusterSpec::default() }, image());
                all(&cluster, &cluster.nodes[0]).into_iter().find(|(name, _)| name == credential)
            };
            assert_eq!(content(false), None, "its defaults are right");
            let settings = content(true).unwrap().1;
            assert!(settings.starts_with(first), "{settings}");
            let files = settings.lines().filter_map(|line| line.split_once(certificates::FOLDER));
            let names: Vec<_> = files.map(|(_, name)| name.trim_start_matches('/')).collect();
            assert_eq!(names, ["ca.pem", "client.pem", "client-key.pem"]);
            let issued = |name: &&str| certificates::CREDENTIALS.iter().any(|(_, file)| file == name);
            assert!(names.iter().all(issued), "{settings}");
        }
    }
}
