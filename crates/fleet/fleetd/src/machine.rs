//! Id, address and clocks of this machine.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fleet_core::{FenceKey, MachineId};
use fleet_node::Clock;
use nix::time::{ClockId, clock_gettime};

const ID_FILE: &str = "/etc/machine-id";
/// Set by coreos-setup-environment.
const ADDRESS_VARIABLE: &str = "COREOS_PRIVATE_IPV4";
/// An address of TEST-NET-1 for the route lookup; nothing is sent.
const TEST_ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

pub fn id() -> anyhow::Result<MachineId> {
    let text = std::fs::read_to_string(ID_FILE)
        .with_context(|| format!("unable to determine local machine ID: {ID_FILE}"))?;
    match text.trim() {
        "" => bail!("unable to determine local machine ID: {ID_FILE} is empty"),
        id => Ok(MachineId::new(id)),
    }
}

/// A random key.
pub fn new_fence_key() -> anyhow::Result<FenceKey> {
    let mut key = [0; FenceKey::BYTES];
    getrandom::fill(&mut key).context("random numbers")?;
    Ok(FenceKey(key))
}

/// The configured address, else that of the environment, else that of the default route's interface. Empty if there is
/// none.
pub fn public_ip(configured: Option<&str>) -> String {
    if let Some(configured) = configured {
        return configured.to_owned();
    }
    if let Some(address) = std::env::var(ADDRESS_VARIABLE).ok().filter(|text| text.parse::<IpAddr>().is_ok())
    {
        return address;
    }
    default_route_address().map(|address| address.to_string()).unwrap_or_default()
}

fn default_route_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(TEST_ADDRESS).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_link_local() => Some(address),
        _ => None,
    }
}

/// Whether the machine is shutting down or rebooting; false if systemd does not respond.
pub async fn is_going_down() -> bool {
    let request = async {
        let bus = zbus::Connection::system().await?;
        let (systemd, path) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        let property = ("org.freedesktop.systemd1.Manager", "SystemState");
        let properties = Some("org.freedesktop.DBus.Properties");
        let reply = bus.call_method(Some(systemd), path, properties, "Get", &property).await?;
        let state: zbus::OwnedVariant = reply.body().deserialize()?;
        String::try_from(state)
    };
    match request.await {
        Ok(state) => state == "stopping",
        Err(error) => {
            tracing::warn!("asking systemd whether the machine goes down: {error}");
            false
        }
    }
}

/// Continues while the machine is suspended.
pub fn clock() -> Clock {
    Clock(Arc::new(|| since_boot(ClockId::CLOCK_BOOTTIME)))
}

/// The clock of `MONOTONIC_USEC=` in notifications of a reload.
pub fn monotonic() -> Duration {
    since_boot(ClockId::CLOCK_MONOTONIC)
}

fn since_boot(clock: ClockId) -> Duration {
    // invariant: Linux has both clocks.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}
