//! What this machine is: its id, its address, its clock.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use fleet_core::MachineId;
use fleet_node::Clock;
use nix::time::{ClockId, clock_gettime};

const ID_FILE: &str = "/etc/machine-id";
/// Where coreos-setup-environment says how other machines reach this one.
const ADDRESS_VARIABLE: &str = "COREOS_PRIVATE_IPV4";
/// Of no machine: nothing is sent there, only the way is looked up.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

pub fn id() -> anyhow::Result<MachineId> {
    let text = std::fs::read_to_string(ID_FILE)
        .with_context(|| format!("unable to determine local machine ID: {ID_FILE}"))?;
    match text.trim() {
        "" => bail!("unable to determine local machine ID: {ID_FILE} is empty"),
        id => Ok(MachineId::new(id)),
    }
}

/// What is set, else what the machine says of itself, else the address that the default route gives. Empty where
/// there is none.
pub fn public_ip(set: Option<&str>) -> String {
    if let Some(set) = set {
        return set.to_owned();
    }
    if let Some(told) = std::env::var(ADDRESS_VARIABLE).ok().filter(|text| text.parse::<IpAddr>().is_ok()) {
        return told;
    }
    by_route().map(|address| address.to_string()).unwrap_or_default()
}

fn by_route() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_link_local() => Some(address),
        _ => None,
    }
}

/// Whether the whole machine stops or starts anew, as far as systemd can be asked.
pub async fn is_going_down() -> bool {
    let asked = async {
        let bus = zbus::Connection::system().await?;
        let (systemd, path) = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        let what = ("org.freedesktop.systemd1.Manager", "SystemState");
        let properties = Some("org.freedesktop.DBus.Properties");
        let reply = bus.call_method(Some(systemd), path, properties, "Get", &what).await?;
        let state: zbus::OwnedVariant = reply.body().deserialize()?;
        String::try_from(state)
    };
    match asked.await {
        Ok(state) => state == "stopping",
        Err(error) => {
            tracing::warn!("asking systemd whether the machine goes down: {error}");
            false
        }
    }
}

/// Goes on while the machine sleeps.
pub fn clock() -> Clock {
    Clock(Arc::new(|| since_boot(ClockId::CLOCK_BOOTTIME)))
}

/// As systemd counts reloads.
pub fn monotonic() -> Duration {
    since_boot(ClockId::CLOCK_MONOTONIC)
}

fn since_boot(clock: ClockId) -> Duration {
    // invariant: Linux has both clocks.
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}
