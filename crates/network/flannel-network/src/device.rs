//! What is common to the devices of the backends.

use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

/// What had to be done to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist.
    Created,
    /// It was as required: its index and its entries remain.
    Kept,
    /// Attributes were changed; its index remains. The kernel drops the neighbors of a device whose MAC address changes.
    Changed,
    /// It was deleted and created; the reason.
    Recreated(String),
}

/// The kind of a virtual device; other devices have none.
pub fn kind(link: &LinkMessage) -> Option<InfoKind> {
    infos(link).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.clone()),
        _ => None,
    })
}

/// Kind and attributes of a virtual device.
pub fn infos(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten()
}
