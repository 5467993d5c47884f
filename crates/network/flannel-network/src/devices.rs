//! flanneld's devices that exist already.

use flannel_core::{MacAddress, RouteLink, WIREGUARD_DEVICE};
use ipnet::Ipv4Net;
use netlink::RequestError;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkMessage},
};

use crate::{
    device::kind,
    entries::{read_route, routes_request},
    network::Network,
};

/// An existing vxlan device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExistingVxlan {
    /// Its index in the kernel.
    pub index: u32,
    /// Its MAC address.
    pub mac: MacAddress,
}

/// A device that flanneld created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDevice {
    /// Its name.
    pub name: String,
    /// Its index in the kernel.
    pub index: u32,
}

impl Network {
    /// The vxlan device with this name; `None` if there is none, or only one of another kind.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn existing_vxlan(&self, name: &str) -> Result<Option<ExistingVxlan>, RequestError> {
        Ok(self.route.link(name).await?.as_ref().and_then(existing_vxlan))
    }

    /// Index of the TUN device with this name; `None` if there is none, or only one of another kind.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn existing_tun(&self, name: &str) -> Result<Option<u32>, RequestError> {
        let link = self.route.link(name).await?.filter(|link| kind(link) == Some(InfoKind::Tun));
        Ok(link.map(|link| link.header.index))
    }

    /// Deletes these devices. Their routes, neighbors, forwarding entries and peers are deleted with them.
    ///
    /// # Errors
    /// The kernel does not answer, or refuses.
    pub async fn remove_devices(&self, devices: &[OwnDevice]) -> Result<(), RequestError> {
        for device in devices {
            self.route.delete_link(device.index).await?;
        }
        Ok(())
    }

    /// The devices other than `except` through which routes to subnets of `network` lead: those of the backend that the
    /// network had before. Their routes to single subnets precede one to the whole network.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn devices_with_routes(
        &self,
        networks: &[Ipv4Net],
        except: Option<u32>,
    ) -> Result<Vec<OwnDevice>, RequestError> {
        let mut devices = self.own_devices().await?;
        devices.retain(|device| Some(device.index) != except);
        let mut found = Vec::new();
        for device in devices {
            let within = |message| match message {
                RouteNetlinkMessage::NewRoute(route) => {
                    let (subnet, _) = read_route(&route, device.index, RouteLink::Overlay)?;
                    networks.iter().any(|network| network.contains(&subnet)).then_some(())
                }
                _ => None,
            };
            if !self.route.dump(routes_request(Some(device.index)), within).await?.is_empty() {
                found.push(device);
            }
        }
        Ok(found)
    }

    /// Every device that flanneld leaves behind when it exits: `flannel.VNI` and `flannel-wg`.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn own_devices(&self) -> Result<Vec<OwnDevice>, RequestError> {
        let own = |message| match message {
            RouteNetlinkMessage::NewLink(link) => {
                let name = name(&link)?.to_owned();
                let is_own = match kind(&link) {
                    Some(InfoKind::Vxlan) => is_vxlan_name(&name),
                    Some(InfoKind::Wireguard) => name == WIREGUARD_DEVICE,
                    _ => false,
                };
                is_own.then_some(OwnDevice { name, index: link.header.index })
            }
            _ => None,
        };
        self.route.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), own).await
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
