//! The vxlan device: created, kept or changed, whichever it needs.

use std::net::Ipv4Addr;

use flannel_core::{DeviceDecision, MacAddress, ObservedVxlan, VxlanDevice, decide_vxlan};
use netlink::RequestError;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use nix::errno::Errno;

use crate::{
    device::{Outcome, infos, kind},
    limits::DEVICE_ATTEMPTS,
    network::Network,
};

/// The device is as required, and up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// Its index in the kernel.
    pub index: u32,
    /// What had to be done.
    pub outcome: Outcome,
}

/// A vxlan device cannot be made as required.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EnsureVxlanError {
    #[error("cannot observe device {name}")]
    Observe { name: String, source: RequestError },
    #[error(
        "cannot create device {name}: device {other} already uses VNI {vni} and port {port}; delete it, or set another `VNI` in the network configuration"
    )]
    InUse { name: String, other: String, vni: u32, port: u16 },
    #[error("cannot create device {name}: there is no external interface with index {index}")]
    NoUnderlay { name: String, index: u32, source: RequestError },
    #[error("cannot create device {name}")]
    Create { name: String, source: RequestError },
    #[error("cannot delete device {name}, which has to be created anew: {reason}")]
    Delete { name: String, reason: String, source: RequestError },
    #[error("cannot change the MAC address or MTU of device {name}")]
    Change { name: String, source: RequestError },
    #[error("cannot set device {name} up")]
    SetUp { name: String, source: RequestError },
    #[error("another program changes device {name}: {difference} after {DEVICE_ATTEMPTS} attempts")]
    Unstable { name: String, difference: String },
}

/// What a name refers to.
enum Observed {
    Nothing,
    Vxlan { index: u32, up: bool, observed: ObservedVxlan },
    Other { index: u32, kind: String },
}

impl Network {
    /// Makes the device exist as `desired`, and sets it up. It is observed after each change: what is returned is as
    /// required, also if another program changed it meanwhile.
    pub async fn ensure_vxlan(&self, desired: &VxlanDevice) -> Result<Ensured, EnsureVxlanError> {
        let name = || desired.name.clone();
        let mut outcome = None;
        let mut difference = String::new();
        for _ in 0..DEVICE_ATTEMPTS {
            let observed = self.observe_vxlan(&desired.name).await;
            match observed.map_err(|source| EnsureVxlanError::Observe { name: name(), source })? {
                Observed::Nothing => {
                    self.create_vxlan(desired).await?;
                    outcome.get_or_insert(Outcome::Created);
                    difference = "it was deleted".into();
                }
                Observed::Other { index, kind } => {
                    let reason = format!("it is a device of kind {kind}, required is vxlan");
                    self.delete_vxlan(index, desired, &reason).await?;
                    outcome.get_or_insert(Outcome::Recreated(reason.clone()));
                    difference = reason;
                }
                Observed::Vxlan { index, up, observed } => match decide_vxlan(&observed, desired) {
                    DeviceDecision::Keep if up => {
                        return Ok(Ensured { index, outcome: outcome.unwrap_or(Outcome::Kept) });
                    }
                    DeviceDecision::Keep => {
                        let result = self.route.set_up(index).await;
                        result.map_err(|source| EnsureVxlanError::SetUp { name: name(), source })?;
                        difference = "it was set down".into();
                    }
                    DeviceDecision::Change { mac, mtu } => {
                        let mac = mac.map(|mac| LinkAttribute::Address(mac.0.to_vec()));
                        let attributes = mac.into_iter().chain(mtu.map(LinkAttribute::Mtu)).collect();
                        let result = self.route.change_link(index, attributes).await;
                        result.map_err(|source| EnsureVxlanError::Change { name: name(), source })?;
                        outcome.get_or_insert(Outcome::Changed);
                        let device = &observed.device;
                        difference = format!("its MAC address was {} and its MTU {}", device.mac, device.mtu);
                    }
                    DeviceDecision::Recreate(reason) => {
                        self.delete_vxlan(index, desired, &reason).await?;
                        outcome.get_or_insert(Outcome::Recreated(reason.clone()));
                        difference = reason;
                    }
                },
            }
        }
        Err(EnsureVxlanError::Unstable { name: name(), difference })
    }

    async fn observe_vxlan(&self, name: &str) -> Result<Observed, RequestError> {
        let Some(link) = self.route.link(name).await? else { return Ok(Observed::Nothing) };
        let (index, up) = (link.header.index, link.header.flags.contains(LinkFlags::Up));
        Ok(match observed_vxlan(&link) {
            Ok(observed) => Observed::Vxlan { index, up, observed },
            Err(kind) => Observed::Other { index, kind },
        })
    }

    async fn delete_vxlan(
        &self,
        index: u32,
        desired: &VxlanDevice,
        reason: &str,
    ) -> Result<(), EnsureVxlanError> {
        self.route.delete_link(index).await.map_err(|source| EnsureVxlanError::Delete {
            name: desired.name.clone(),
            reason: reason.to_string(),
            source,
        })
    }

    async fn create_vxlan(&self, desired: &VxlanDevice) -> Result<(), EnsureVxlanError> {
        let request = RouteNetlinkMessage::NewLink(creation(desired));
        let Err(source) = self.route.acknowledge(request, NLM_F_CREATE | NLM_F_EXCL).await else {
            return Ok(());
        };
        let name = desired.name.clone();
        if source.is(Errno::EEXIST) {
            // With the same name: another program created it since it was observed, which the next observation shows.
            if matches!(self.route.link(&desired.name).await, Ok(Some(_))) {
                return Ok(());
            }
            if let Some(other) = self.vxlan_using(desired.vni, desired.port).await {
                return Err(EnsureVxlanError::InUse { name, other, vni: desired.vni, port: desired.port });
            }
        }
        if source.is(Errno::ENODEV) {
            return Err(EnsureVxlanError::NoUnderlay { name, index: desired.underlay, source });
        }
        Err(EnsureVxlanError::Create { name, source })
    }

    /// The name of a vxlan device with this VNI and port.
    async fn vxlan_using(&self, vni: u32, port: u16) -> Option<String> {
        let uses = |message| match message {
            RouteNetlinkMessage::NewLink(link) => observed_vxlan(&link).ok(),
            _ => None,
        };
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let devices = self.route.dump(request, uses).await.ok()?;
        let mut devices = devices.into_iter().map(|observed| observed.device);
        devices.find(|device| device.vni == vni && device.port == port).map(|device| device.name)
    }
}

/// The message that creates the device, down.
fn creation(desired: &VxlanDevice) -> LinkMessage {
    let mut data = vec![
        InfoVxlan::Id(desired.vni),
        InfoVxlan::Link(desired.underlay),
        InfoVxlan::Local(desired.local),
        InfoVxlan::Port(desired.port),
        InfoVxlan::Learning(false),
    ];
    data.extend(desired.group_policy.then_some(InfoVxlan::Gbp));
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(desired.name.clone()),
        // udev replaces an address that the kernel has chosen, and peers would send to the old one.
        LinkAttribute::Address(desired.mac.0.to_vec()),
        LinkAttribute::Mtu(desired.mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]),
    ];
    message
}

/// The attributes of a vxlan device; the kind of any other.
fn observed_vxlan(link: &LinkMessage) -> Result<ObservedVxlan, String> {
    let mut observed = ObservedVxlan {
        device: VxlanDevice {
            name: String::new(),
            vni: 0,
            port: 0,
            group_policy: false,
            underlay: 0,
            local: Ipv4Addr::UNSPECIFIED,
            mac: MacAddress([0; 6]),
            mtu: 0,
        },
        learning: false,
        l3_miss: false,
        group: false,
    };
    let device = &mut observed.device;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                device.mac = bytes.as_slice().try_into().map(MacAddress).unwrap_or(device.mac);
            }
            _ => (),
        }
    }
    let kind = kind(link);
    if kind != Some(InfoKind::Vxlan) {
        return Err(kind.map_or_else(|| "without a name".into(), |kind| kind.to_string()));
    }
    for attribute in vxlan_attributes(link) {
        let device = &mut observed.device;
        match attribute {
            InfoVxlan::Id(vni) => device.vni = *vni,
            InfoVxlan::Link(index) => device.underlay = *index,
            InfoVxlan::Local(address) => device.local = *address,
            InfoVxlan::Port(port) => device.port = *port,
            InfoVxlan::Gbp => device.group_policy = true,
            InfoVxlan::Learning(is) => observed.learning = *is,
            InfoVxlan::L3Miss(is) => observed.l3_miss = *is,
            InfoVxlan::Group(_) | InfoVxlan::Group6(_) => observed.group = true,
            _ => (),
        }
    }
    Ok(observed)
}

fn vxlan_attributes(link: &LinkMessage) -> impl Iterator<Item = &InfoVxlan> {
    let data = infos(link).filter_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    });
    data.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> VxlanDevice {
        VxlanDevice {
            name: "flannel.1".into(),
            vni: 1,
            port: 8472,
            group_policy: true,
            underlay: 2,
            local: Ipv4Addr::new(192, 168, 0, 1),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            mtu: 1450,
        }
    }

    #[test]
    fn a_created_device_is_kept() {
        let observed = observed_vxlan(&creation(&desired())).unwrap();
        assert_eq!(decide_vxlan(&observed, &desired()), DeviceDecision::Keep);
    }

    #[test]
    fn a_device_of_another_kind() {
        let mut link = creation(&desired());
        link.attributes.pop();
        assert_eq!(observed_vxlan(&link).unwrap_err(), "without a name");
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        assert_eq!(observed_vxlan(&link).unwrap_err(), "bridge");
    }
}
