//! All limits of this crate.
//!
//! User-data is untrusted: each limit turns exhausted memory or time into an error message.

/// Raw user-data, as fetched.
pub const MAX_RAW_BYTES: usize = 16 << 20;
/// User-data after decompression.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// One decoded file of `write_files`.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Nested gzip layers.
pub const MAX_GZIP_LEVELS: usize = 3;
/// Nesting depth of mappings and lists.
pub const MAX_YAML_DEPTH: usize = 100;
/// Values in a document, without expanding aliases.
pub const MAX_YAML_NODES: u64 = 500_000;
/// Values with aliases expanded that are always allowed.
pub const MIN_EXPANDED_NODES: u64 = 100_000;
/// Ratio of values with aliases expanded to values in the document, above [`MIN_EXPANDED_NODES`].
pub const MAX_EXPANSION: u64 = 10;
/// Bytes of scalars repeated by aliases.
pub const MAX_ALIASED_BYTES: u64 = 64 << 20;
/// Findings to keep.
pub const MAX_FINDINGS: usize = 1000;
/// Entries of `runcmd`. Each becomes a unit.
pub const MAX_COMMANDS: usize = 200;
/// Hostname length (`HOST_NAME_MAX` on Linux).
pub const MAX_HOSTNAME_BYTES: usize = 64;
/// Length of a hostname from metadata: one DNS label.
pub const MAX_HOSTNAME_LABEL_BYTES: usize = 63;
/// XML nodes in a provider's document.
pub const MAX_XML_NODES: u32 = 100_000;
/// Lookups of a provider's keys. Each may be a request to the hypervisor.
pub const MAX_PROVIDER_KEYS: usize = 1000;
/// One reply of VMware's hypervisor: a value of 1 MiB and its status.
pub const MAX_GUESTINFO_BYTES: usize = (1 << 20) + 2;
/// Attempts of a request that snapshots or migrations of the machine interrupt.
pub const MAX_RPC_ATTEMPTS: usize = 3;
/// Maximum edit distance of a suggested key.
pub const MAX_SUGGESTION_DISTANCE: usize = 2;
/// Notes about ignored values of a metadata document.
pub const MAX_METADATA_NOTES: usize = 100;
/// SSH keys fetched from a metadata service, one request each.
pub const MAX_METADATA_KEYS: usize = 100;
/// Network interfaces fetched from a metadata service, one request each.
pub const MAX_METADATA_INTERFACES: usize = 16;
/// Keys of one import.
pub const MAX_IMPORTED_KEYS: usize = 1000;
/// Request headers of one file.
pub const MAX_SOURCE_HEADERS: usize = 50;
/// Length of a GitHub user name.
pub const MAX_GITHUB_NAME_BYTES: usize = 100;
/// Response of a metadata service, other than user-data.
pub const MAX_METADATA_BYTES: usize = 1 << 20;
/// Nesting depth of multiparts; the outermost has depth 1.
pub const MAX_MIME_DEPTH: usize = 4;
/// MIME parts of all depths together.
pub const MAX_MIME_PARTS: usize = 1000;
/// MIME headers of one part.
pub const MAX_MIME_HEADER_BYTES: usize = 64 << 10;
/// Interfaces of a network description.
pub const MAX_INTERFACES: usize = 256;
/// Addresses, routes and name servers of all interfaces together.
pub const MAX_NETWORK_ENTRIES: usize = 10_000;
/// Length of a shell pattern that matches interface names.
pub const MAX_PATTERN_BYTES: usize = 64;
/// Interface name length (`IFNAMSIZ` on Linux, without the NUL).
pub const MAX_INTERFACE_NAME_BYTES: usize = 15;
