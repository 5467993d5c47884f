//! What a node is told before its user-data, as systemd credentials: its name and its LAN address.
//!
//! systemd's network generator writes `network.network.NAME` credentials to `/run/systemd/network`, so the
//! image needs to know nothing about our LAN.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::{LAN_PREFIX, Node};

/// Sorts before the image's own files, so that it wins for this interface.
pub const LAN_NAME: &str = "network.network.70-lan";

/// The node's name until its user-data or its config drive says another.
pub const HOSTNAME: &str = "system.hostname";

/// All credentials of a node: name and content.
#[must_use]
pub fn all(node: &Node) -> Vec<(String, String)> {
    vec![(LAN_NAME.to_owned(), lan_network(node)), (HOSTNAME.to_owned(), node.name.clone())]
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

/// The SMBIOS string by which QEMU hands over a binary credential.
#[must_use]
pub fn smbios(name: &str, content: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content))
}
