//! Converts a datasource's network description to files for systemd-networkd (contract 1.7).
//!
//! Each provider's format has its own module; all share one model of interfaces. This module does not inspect
//! the machine: the planner knows which interfaces exist.

mod address;
mod bond;
mod cloud_init;
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

/// The argument of `-convert-netconf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Debian,
    Packet,
    Vmware,
    /// Not the original's.
    CloudInit,
}

impl Format {
    /// Parses the flag's value.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Debian, Self::Packet, Self::Vmware, Self::CloudInit]
            .into_iter()
            .find(|format| format.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Packet => "packet",
            Self::Vmware => "vmware",
            Self::CloudInit => "cloud-init",
        }
    }
}

/// Converts a network description.
///
/// # Errors
/// Any part of the description is invalid; a network is never configured in part.
pub fn convert(format: Format, source: &NetworkSource) -> Result<Network, ConvertError> {
    let network = match (format, source) {
        (Format::CloudInit, NetworkSource::CloudInit(text)) => cloud_init::convert(text)?,
        // The other format of a NoCloud seed.
        (Format::Debian | Format::CloudInit, NetworkSource::Debian(text)) => debian::convert(text)?,
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
