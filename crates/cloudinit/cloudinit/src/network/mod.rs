//! A datasource's description of the network to files for systemd-networkd (contract 1.7).
//!
//! Each provider's language is read in a file of its own, to interfaces that all share. It must never look at
//! the machine: which interfaces there are is the planner's to be told.

mod address;
mod bond;
mod debian;
mod interface;
mod networkd;
mod openstack;
mod packet;
mod vmware;

use std::collections::BTreeSet;

pub(crate) use address::Cidr;
pub use interface::{ConvertError, Network};
pub use networkd::NetworkFile;

use crate::metadata::NetworkSource;

/// What `-convert-netconf` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Debian,
    Packet,
    Vmware,
}

impl Format {
    /// As the flag has it.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Debian, Self::Packet, Self::Vmware].into_iter().find(|format| format.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Packet => "packet",
            Self::Vmware => "vmware",
        }
    }
}

/// # Errors
/// Something in it has no meaning. There is no part of a network.
pub fn convert(format: Format, source: &NetworkSource) -> Result<Network, ConvertError> {
    let network = match (format, source) {
        (Format::Debian, NetworkSource::Debian(text)) => debian::convert(text)?,
        (Format::Debian, NetworkSource::OpenStack(data)) => openstack::convert(data)?,
        (Format::Packet, NetworkSource::Packet(metadata)) => packet::convert(metadata)?,
        (Format::Vmware, NetworkSource::Vmware(keys)) => vmware::convert(keys)?,
        (format, _) => {
            let name = format.name();
            return Err(ConvertError(format!("the datasource's network config is not of format {name:?}")));
        }
    };
    interface::check_size(&network.interfaces)?;
    let mut names = BTreeSet::new();
    for file in network.files() {
        if !names.insert(file.name.clone()) {
            return Err(ConvertError(format!("two interfaces would be {}", file.name)));
        }
    }
    Ok(network)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
