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
/// Files in the folder of images.
pub const FOLDER_FILES: usize = 4096;
/// Bytes of the name of a file.
pub const NAME_BYTES: usize = 120;
/// Bytes of a file of rules.
pub const RULES_BYTES: usize = 1 << 20;
/// Rules.
pub const RULES: usize = 4096;
/// SSH keys of a rule.
pub const SSH_KEYS: usize = 16;
/// Bytes of the kernel's command line on x86.
pub const COMMAND_LINE_BYTES: usize = 2047;
/// Machines whose progress is remembered.
pub const MACHINES: usize = 1024;
/// Steps of a boot.
pub const STAGES: usize = 32;
/// Characters of a step's detail.
pub const DETAIL_BYTES: usize = 120;
/// Seconds after which another offer belongs to another boot.
pub const OFFER_AGE: u64 = 300;
/// Machines that are recorded as installed.
pub const INSTALLED: usize = 4096;
/// Bytes of user-data.
pub const USER_DATA_BYTES: usize = 2 << 20;
/// Concurrent downloads by HTTP.
pub const DOWNLOADS: usize = 256;
/// Concurrent connections of HTTP; further ones wait.
pub const CONNECTIONS: usize = 1024;
/// Time of a request's header.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two chunks of a file.
pub const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// For responses in progress at shutdown.
pub const GRACE: Duration = Duration::from_secs(2);
