//! flanneld's devices that exist already.

use flannel_core::{MacAddress, WIREGUARD_DEVICE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkMessage},
};

use crate::{device::kind, network::Network, request::RequestError};

/// An existing vxlan device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingVxlan {
    /// Its index in the kernel.
    pub index: u32,
    /// Its MAC address.
    pub mac: MacAddress,
}

impl Network {
    /// The vxlan device with this name; `None` if there is none, or only one of another kind.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn existing_vxlan(&self, name: &str) -> Result<Option<ExistingVxlan>, RequestError> {
        Ok(self.link(name).await?.as_ref().and_then(existing_vxlan))
    }

    /// Index of the TUN device with this name; `None` if there is none, or only one of another kind.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn existing_tun(&self, name: &str) -> Result<Option<u32>, RequestError> {
        let link = self.link(name).await?.filter(|link| kind(link) == Some(InfoKind::Tun));
        Ok(link.map(|link| link.header.index))
    }

    /// Deletes every device that flanneld leaves behind, `flannel.VNI` and `flannel-wg`, and returns their names. Their
    /// routes, neighbors, forwarding entries and peers are deleted with them.
    ///
    /// # Errors
    /// The kernel does not answer, or refuses.
    pub async fn remove_devices(&self) -> Result<Vec<String>, RequestError> {
        let own = |message| match message {
            RouteNetlinkMessage::NewLink(link) => {
                let name = name(&link)?.to_owned();
                let is_own = match kind(&link) {
                    Some(InfoKind::Vxlan) => is_vxlan_name(&name),
                    Some(InfoKind::Wireguard) => name == WIREGUARD_DEVICE,
                    _ => false,
                };
                is_own.then_some((name, link.header.index))
            }
            _ => None,
        };
        let devices = self.route.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), own).await?;
        let mut removed = Vec::new();
        for (name, index) in devices {
            self.delete_link(index).await?;
            removed.push(name);
        }
        Ok(removed)
    }
}

/// `flannel.` and a VNI: no other program's device has a name of that form.
fn is_vxlan_name(name: &str) -> bool {
    name.strip_prefix("flannel.").is_some_and(|vni| vni.parse::<u32>().is_ok())
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn existing_vxlan(link: &LinkMessage) -> Option<ExistingVxlan> {
    if kind(link) != Some(InfoKind::Vxlan) {
        return None;
    }
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok().map(MacAddress),
        _ => None,
    });
    Some(ExistingVxlan { index: link.header.index, mac: mac? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in
            [("flannel.1", true), ("flannel.16777215", true), ("flannel.x", false), ("flannel0", false)]
        {
            assert_eq!(is_vxlan_name(name), expected, "{name}");
        }
    }
}
