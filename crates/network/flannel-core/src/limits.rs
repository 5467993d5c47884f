//! Limits and fixed times; those of flannel where it has one.

use std::time::Duration;

/// How long a lease lasts after each renewal.
pub const LEASE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Attempts of a lease whose subnet another host takes first.
pub const ACQUIRE_ATTEMPTS: u32 = 10;

/// Free subnets among which the first attempt chooses at random. Later attempts choose among all.
pub const FIRST_CANDIDATES: usize = 100;

/// A renewed lease is renewed again after this time, or a third of its TTL if that is shorter.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Pause after a failed renewal.
pub const RENEW_RETRY: Duration = Duration::from_secs(60);

/// Pause after other failed requests, and between reads of a configuration that is absent.
pub const RETRY: Duration = Duration::from_secs(1);

/// A lost lease whose subnet another host has is looked at again after this time.
pub const CONFLICT_RECHECK: Duration = Duration::from_secs(60);

/// The highest VXLAN network identifier: 24 bits.
pub const MAX_VNI: u32 = (1 << 24) - 1;

/// The kernel's port for vxlan, older than the assigned one (4789).
pub const VXLAN_PORT: u16 = 8472;

/// The port of flannel's udp backend.
pub const UDP_PORT: u16 = 8285;

/// The port of the wireguard backend, WireGuard's usual one.
pub const WIREGUARD_PORT: u16 = 51820;

/// Bytes that vxlan adds to a packet: Ethernet, IPv4, UDP and vxlan headers.
pub const VXLAN_OVERHEAD: u32 = 50;

/// Bytes that the udp backend adds: IPv4 and UDP headers.
pub const UDP_OVERHEAD: u32 = 28;

/// Bytes that WireGuard adds over IPv6; over IPv4 it adds 60. All hosts of a network need the same MTU, and flannel has
/// this value for both, as `wg-quick` does.
pub const WIREGUARD_OVERHEAD: u32 = 80;

/// A longer configuration or lease is refused.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
