//! The device of backend wireguard.

use std::path::PathBuf;

use anyhow::{Context, Result};
use flannel_core::{LeaseAttributes, WIREGUARD_DEVICE, WireguardSecret, WireguardSettings};
use flannel_network::WireguardDevice;

use crate::{
    daemon::overlay::underlay::{Underlay, log_outcome},
    io::wireguard_key,
};

pub struct Wireguard {
    settings: WireguardSettings,
    key_file: PathBuf,
    key: Option<WireguardSecret>,
    pub index: Option<u32>,
}

impl Wireguard {
    pub fn new(settings: WireguardSettings, key_file: PathBuf) -> Wireguard {
        Wireguard { settings, key_file, key: None, index: None }
    }

    pub async fn prepare(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        let private_key = match self.key {
            Some(key) => key,
            None => *self.key.insert(wireguard_key::read_or_create(&self.key_file)?),
        };
        let device = WireguardDevice {
            name: WIREGUARD_DEVICE.to_owned(),
            private_key,
            listen_port: self.settings.port,
            mtu: on.mtu,
        };
        let ensured = on.network.ensure_wireguard(&device).await?;
        log_outcome(&format!("{WIREGUARD_DEVICE} with public key {}", ensured.public_key), &ensured.outcome);
        self.index = Some(ensured.index);
        Ok(LeaseAttributes::wireguard(on.external.public_ip, ensured.public_key))
    }

    /// Only the kernel computes the public key, when the device has the private one: a plan before leaves it out.
    pub async fn observe(&mut self, on: Underlay<'_>) -> Result<LeaseAttributes> {
        let key_exists = wireguard_key::read(&self.key_file)?.is_some();
        let existing = match key_exists {
            true => on
                .network
                .existing_wireguard(WIREGUARD_DEVICE)
                .await
                .context("cannot read the WireGuard device")?,
            false => None,
        };
        let state = |exists| if exists { "exists" } else { "would be created" };
        println!("key       {}, {}", self.key_file.display(), state(key_exists));
        println!("device    {WIREGUARD_DEVICE}, {}", state(existing.is_some()));
        let public_ip = on.external.public_ip;
        let Some((index, key)) = existing else {
            println!("lease     with the PublicKey of the new device in addition");
            return Ok(LeaseAttributes::plain(public_ip, "wireguard"));
        };
        self.index = Some(index);
        Ok(LeaseAttributes::wireguard(public_ip, key))
    }
}
