//! Limits. Every host of the network may send requests.

use std::time::Duration;

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
/// Bytes of a TFTP request or acknowledgement.
pub const TFTP_REQUEST_BYTES: usize = 1024;
/// Options of a TFTP request.
pub const TFTP_OPTIONS: usize = 16;
/// Characters of a client's error message.
pub const TFTP_ERROR_BYTES: usize = 200;
/// Bytes of a block that fits into a frame of Ethernet.
pub const TFTP_BLOCK: u16 = 1468;
/// Blocks that are sent before an acknowledgement.
pub const TFTP_WINDOW: u16 = 16;
/// Time after which blocks are sent again, unless the client requests another.
pub const TFTP_TIMEOUT: Duration = Duration::from_secs(1);
/// Times that blocks are sent without a response.
pub const TFTP_ATTEMPTS: u32 = 6;
/// Concurrent TFTP transfers.
pub const TFTP_TRANSFERS: usize = 128;
/// Concurrent TFTP transfers of one address.
pub const TFTP_TRANSFERS_PER_CLIENT: usize = 4;
/// Blocks of a file that are read together.
pub const TFTP_READ_AHEAD: u64 = 128;
/// Time of a whole TFTP transfer.
pub const TFTP_DURATION: Duration = Duration::from_secs(3600);
