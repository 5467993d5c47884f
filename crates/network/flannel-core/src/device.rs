//! The device through which packets leave for other hosts, and the external interface below it.

use std::net::Ipv4Addr;

use crate::mac_address::MacAddress;

/// The interface that leads to the other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalInterface {
    /// Its index in the kernel.
    pub index: u32,
    /// Its name, for messages.
    pub name: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The IPv4 address from which packets are sent.
    pub address: Ipv4Addr,
    /// The address that the other hosts use: `address`, unless `-public-ip` sets another.
    pub public_ip: Ipv4Addr,
}

/// A vxlan device as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanDevice {
    /// `flannel.VNI`.
    pub name: String,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// UDP port of the VTEPs.
    pub port: u16,
    /// Whether packets carry a group policy.
    pub group_policy: bool,
    /// Index of the external interface.
    pub underlay: u32,
    /// Source address of the encapsulated packets.
    pub local: Ipv4Addr,
    /// The address that the lease publishes.
    pub mac: MacAddress,
    /// MTU in bytes: the external interface's less the headers.
    pub mtu: u32,
}

/// What the kernel reports of an existing device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedVxlan {
    /// The attributes in the form of the desired ones.
    pub device: VxlanDevice,
    /// Whether the device learns forwarding entries from packets, which flanneld's devices never do.
    pub learning: bool,
    /// Whether packets to unknown neighbors are reported to processes, as flannel until 0.7 had it.
    pub l3_miss: bool,
    /// The multicast group of unknown destinations, as another program may have set it.
    pub group: bool,
}

/// Whether an existing device is used, changed, or created anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceDecision {
    /// It has every attribute: its index and its entries remain.
    Keep,
    /// Only these differ, which the kernel can change while packets pass.
    Change {
        /// The new MAC address, if it differs.
        mac: Option<MacAddress>,
        /// The new MTU, if it differs.
        mtu: Option<u32>,
    },
    /// It has to be deleted first; the attribute and both values, for the log.
    Recreate(String),
}

/// Decides how `desired` is reached from `observed`.
pub fn decide_vxlan(observed: &ObservedVxlan, desired: &VxlanDevice) -> DeviceDecision {
    let device = &observed.device;
    let fixed = [
        ("vni", device.vni.to_string(), desired.vni.to_string()),
        ("port", device.port.to_string(), desired.port.to_string()),
        ("gbp", device.group_policy.to_string(), desired.group_policy.to_string()),
        ("underlay", device.underlay.to_string(), desired.underlay.to_string()),
        ("local", device.local.to_string(), desired.local.to_string()),
        ("learning", observed.learning.to_string(), false.to_string()),
        ("l3miss", observed.l3_miss.to_string(), false.to_string()),
        ("group", observed.group.to_string(), false.to_string()),
    ];
    if let Some((attribute, is, should)) = fixed.into_iter().find(|(_, is, should)| is != should) {
        return DeviceDecision::Recreate(format!("{attribute} is {is}, required is {should}"));
    }
    let mac = (device.mac != desired.mac).then_some(desired.mac);
    let mtu = (device.mtu != desired.mtu).then_some(desired.mtu);
    if mac.is_none() && mtu.is_none() { DeviceDecision::Keep } else { DeviceDecision::Change { mac, mtu } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> VxlanDevice {
        VxlanDevice {
            name: "flannel.1".into(),
            vni: 1,
            port: 8472,
            group_policy: false,
            underlay: 2,
            local: Ipv4Addr::new(192, 168, 0, 1),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            mtu: 1450,
        }
    }

    fn check(change: impl FnOnce(&mut ObservedVxlan), expected: DeviceDecision) {
        let mut observed = ObservedVxlan { device: desired(), learning: false, l3_miss: false, group: false };
        change(&mut observed);
        assert_eq!(decide_vxlan(&observed, &desired()), expected);
    }

    #[test]
    fn an_existing_device() {
        check(|_| (), DeviceDecision::Keep);
        let mac = Some(desired().mac);
        check(|observed| observed.device.mac = MacAddress([6; 6]), DeviceDecision::Change { mac, mtu: None });
        check(|observed| observed.device.mtu = 1500, DeviceDecision::Change { mac: None, mtu: Some(1450) });
        let recreate = |reason: &str| DeviceDecision::Recreate(reason.into());
        check(|observed| observed.device.port = 4789, recreate("port is 4789, required is 8472"));
        check(|observed| observed.l3_miss = true, recreate("l3miss is true, required is false"));
        check(|observed| observed.learning = true, recreate("learning is true, required is false"));
    }
}
