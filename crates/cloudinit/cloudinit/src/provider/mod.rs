//! Parses the files, keys and responses of cloud providers: user-data and metadata, one module per provider.
//!
//! Fetching is up to the caller; this module does not do I/O. Missing items are passed as empty. An invalid
//! value is ignored and noted without affecting others, unless documented otherwise. Errors and notes quote
//! only names and addresses: provider data contains passwords and user-data.

mod address;
pub mod azure;
pub mod azure_fabric;
pub mod azure_imds;
pub mod cloud_sigma;
pub mod digitalocean;
pub mod ec2;
mod error;
pub mod gce;
pub mod guest_rpc;
mod items;
mod json;
pub mod no_cloud;
pub mod openstack;
pub mod packet;
pub mod virtual_box;
pub mod vmware;
mod xml;

pub use error::Malformed;

use crate::encoding::ContentEncoding;
use crate::limits::{MAX_RAW_BYTES, MAX_TEXT_BYTES};

/// Looks up the value of a key. Keys are queried lazily: each lookup may be a request to the hypervisor.
pub type PropertyLookup<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// Decodes user-data whose encoding is a separate value.
///
/// # Errors
/// The content does not match its encoding, or exceeds a limit.
pub fn decode_content(content: Vec<u8>, encoding: ContentEncoding) -> Result<Vec<u8>, Malformed> {
    if encoding.is_plain() {
        return Ok(content);
    }
    Ok(encoding.decode(&content, if encoding.gzip { MAX_TEXT_BYTES } else { MAX_RAW_BYTES })?)
}

/// # Errors
/// The bytes are not UTF-8.
fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)
}

fn note_ignored(what: &str, expected: &str, notes: &mut Vec<String>) {
    notes.push(format!("ignoring {what}, which is no {expected}"));
}
