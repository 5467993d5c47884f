//! flanneld's access to the kernel: interfaces, the vxlan or WireGuard device, neighbors, routes and the
//! packet filter, over netlink.
//!
//! [`flannel_core`] decides what the kernel should have; this crate observes what it has and applies the steps. It runs
//! no program, and changes no entry but those of flannel's devices, the routes in its steps, its own nftables table, and
//! two marked rules in Docker's chain.

#![warn(missing_docs)]

mod address;
mod apply;
mod changes;
mod device;
mod devices;
mod direct;
mod entries;
mod firewall;
mod interfaces;
mod limits;
mod network;
mod observe;
mod tun;
mod vxlan;
mod wireguard;

pub use address::{AddressError, AddressOutcome};
pub use apply::StepError;
pub use changes::{Changed, Changes, ChangesError};
pub use device::Outcome;
pub use devices::{ExistingVxlan, OwnDevice};
pub use direct::DirectError;
pub use firewall::{Firewall, FirewallError, FirewallOutcome};
pub use interfaces::InterfacesError;
pub use netlink::RequestError;
pub use network::{Links, Network, OpenError};
pub use observe::ObserveError;
pub use tun::{TunDevice, TunError};
pub use vxlan::{EnsureVxlanError, Ensured};
pub use wireguard::{EnsureWireguardError, EnsuredWireguard, WireguardDevice};
