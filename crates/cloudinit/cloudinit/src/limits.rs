//! Every limit of this crate, in one place.
//!
//! User-data comes from outside; each of these turns a machine that runs out of memory or time into an
//! error message.

/// Raw user-data, as it was fetched.
pub const MAX_RAW_BYTES: usize = 16 << 20;
/// User-data after gunzip.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// One decoded file of `write_files`.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// A gzip inside a gzip is opened this often.
pub const MAX_GZIP_LEVELS: usize = 3;
/// Mappings and lists inside each other.
pub const MAX_YAML_DEPTH: usize = 100;
/// Values a document may write down.
pub const MAX_YAML_NODES: u64 = 500_000;
/// Values a document may have with its aliases followed: this many in any case ...
pub const MIN_EXPANDED_NODES: u64 = 100_000;
/// ... and this many times what it writes down.
pub const MAX_EXPANSION: u64 = 10;
/// Bytes of scalars that aliases may repeat.
pub const MAX_ALIASED_BYTES: u64 = 64 << 20;
/// Findings that are kept; a document with more is not read by anybody to its end.
pub const MAX_FINDINGS: usize = 1000;
/// Entries of `runcmd`: each becomes a unit.
pub const MAX_COMMANDS: usize = 200;
/// A host name (`HOST_NAME_MAX` of Linux).
pub const MAX_HOSTNAME_BYTES: usize = 64;
/// A host name that comes from metadata: one DNS label.
pub const MAX_HOSTNAME_LABEL_BYTES: usize = 63;
/// Elements, texts and the like in a provider's XML.
pub const MAX_XML_NODES: u32 = 100_000;
/// Keys that a provider is asked for, where each costs a run of its program.
pub const MAX_PROVIDER_KEYS: usize = 1000;
/// Edit distance up to which a key is suggested.
pub const MAX_SUGGESTION_DISTANCE: usize = 2;
/// Of what a metadata service's JSON has that is left out, this much is said.
pub const MAX_METADATA_NOTES: usize = 100;
/// ssh keys that a metadata service is asked for one by one.
pub const MAX_METADATA_KEYS: usize = 100;
/// Network interfaces that a metadata service is asked for one by one.
pub const MAX_METADATA_INTERFACES: usize = 16;
/// Keys that one import gives.
pub const MAX_IMPORTED_KEYS: usize = 1000;
/// Headers of the request for one file.
pub const MAX_SOURCE_HEADERS: usize = 50;
/// The name of a user of GitHub: what is longer is none.
pub const MAX_GITHUB_NAME_BYTES: usize = 100;
/// An answer of a metadata service other than user-data.
pub const MAX_METADATA_BYTES: usize = 1 << 20;
/// Multiparts inside each other; the outermost is the first.
pub const MAX_MIME_DEPTH: usize = 4;
/// Parts of all depths together.
pub const MAX_MIME_PARTS: usize = 1000;
/// The headers of one part.
pub const MAX_MIME_HEADER_BYTES: usize = 64 << 10;
/// Interfaces that one description of a network may name.
pub const MAX_INTERFACES: usize = 256;
/// Addresses, routes and name servers of all interfaces together.
pub const MAX_NETWORK_ENTRIES: usize = 10_000;
/// An interface's name (`IFNAMSIZ` of Linux, without the NUL).
pub const MAX_INTERFACE_NAME_BYTES: usize = 15;
