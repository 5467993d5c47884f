//! The device of backend vxlan.

use anyhow::{Context, Result};
use flannel_core::{LeaseAttributes, MacAddress, VxlanDevice, VxlanSettings};
use flannel_network::Network;

use crate::{
    daemon::overlay::underlay::{Underlay, log_outcome},
    io::machine::stable_mac,
};

pub struct Vxlan {
    settings: VxlanSettings,
    name: String,
    pub index: Option<u32>,
    /// The MAC address that was published.
    mac: Option<MacAddress>,
}

impl Vxlan {
    pub fn new(settings: VxlanSettings) -> Vxlan {
        Vxlan { settings, name: format!("flannel.{}", settings.vni), index: None, mac: None }
    }

    pub async fn prepare(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        let device = VxlanDevice {
            name: self.name.clone(),
            vni: self.settings.vni,
            port: self.settings.port,
            group_policy: self.settings.group_policy,
            underlay: on.external.index,
            local: on.external.address,
            mac: self.mac(on).await?,
            mtu: on.mtu,
        };
        let ensured = on.network.ensure_vxlan(&device).await;
        let ensured = ensured.with_context(|| format!("cannot create {}", device.name))?;
        log_outcome(&format!("{} with address {}", device.name, device.mac), &ensured.outcome);
        self.index = Some(ensured.index);
        self.mac = Some(device.mac);
        Ok(LeaseAttributes::vxlan(on.external.public_ip, device.mac))
    }

    pub async fn observe(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        let existing = self.existing(on.network).await?;
        self.index = existing.map(|(index, _)| index);
        println!(
            "device    {}, {}",
            self.name,
            if self.index.is_some() { "exists" } else { "would be created" }
        );
        Ok(LeaseAttributes::vxlan(on.external.public_ip, self.mac(on).await?))
    }

    /// The published address, else that of a device that exists, which peers have, else the machine's.
    async fn mac(&self, on: Underlay<'_>) -> Result<MacAddress> {
        if let Some(mac) = self.mac {
            return Ok(mac);
        }
        let existing = self.existing(on.network).await?;
        Ok(existing.map_or_else(|| stable_mac(&self.name, on.external.public_ip), |(_, mac)| mac))
    }

    async fn existing(&self, network: &Network) -> Result<Option<(u32, MacAddress)>> {
        let existing = network.existing_vxlan(&self.name).await.context("cannot read the vxlan device")?;
        Ok(existing.map(|device| (device.index, device.mac)))
    }
}
