//! Limits. Every host of the network may send requests.

/// Bytes of a DHCP packet: no client sends more than one frame of Ethernet.
pub const DHCP_BYTES: usize = 1500;
/// Bytes of a serial number or host name.
pub const LABEL_BYTES: usize = 64;
/// Addresses of a DHCP range.
pub const LEASES: usize = 4096;
/// Seconds of a lease.
pub const LEASE_SECONDS: u32 = 3600;
/// Seconds for which an address stays reserved for the machine that it was offered to.
pub const OFFER_SECONDS: u64 = 60;
/// Bytes of a URL's query.
pub const QUERY_BYTES: usize = 1024;
