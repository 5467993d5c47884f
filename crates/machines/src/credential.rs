//! What a node is told before its user-data: the address of its LAN interface, as a systemd credential.
//!
//! systemd's network generator writes `network.network.NAME` credentials to `/run/systemd/network`, so the
//! image needs to know nothing about our LAN.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::cluster::{LAN_PREFIX, Node};

/// Sorts before the image's own files, so that it wins for this interface.
pub const LAN_NAME: &str = "network.network.70-lan";

/// The `.network` file of the node's LAN interface. LLMNR makes the nodes find each other by name.
#[must_use]
pub fn lan_network(node: &Node) -> String {
    format!(
        "[Match]\nMACAddress={}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nAddress={}/{LAN_PREFIX}\n\
         LLMNR=yes\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        node.mac, node.address
    )
}

/// The SMBIOS string by which QEMU hands over a binary credential.
#[must_use]
pub fn smbios(name: &str, content: &str) -> String {
    format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(content))
}
