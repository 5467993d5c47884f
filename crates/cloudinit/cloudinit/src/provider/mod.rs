//! What the files, keys and answers of providers mean: bytes in, user-data and metadata out, a file for each provider.
//!
//! Which of its items are asked for, and how, is decided elsewhere; nothing in here may reach out for an answer that it
//! was not given. An item that is not there is empty. One wrong value does not cost the others: it is left out and noted,
//! unless its error says otherwise. Nothing that a provider says may stand in an
//! error or a note but names and addresses, as passwords and user-data are among it.

mod address;
pub mod azure;
pub mod azure_imds;
pub mod cloud_sigma;
pub mod digitalocean;
pub mod ec2;
mod error;
pub mod gce;
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

/// Gives a key's value, `None` where there is none. Keys are asked for one by one, as each may cost the run of a
/// program.
pub type PropertyLookup<'a> = dyn FnMut(&str) -> Option<String> + 'a;

/// User-data as it was written down beside its encoding.
///
/// # Errors
/// It is not what its encoding says, or too much of it.
pub fn decode_content(content: Vec<u8>, encoding: ContentEncoding) -> Result<Vec<u8>, Malformed> {
    if encoding.is_plain() {
        return Ok(content);
    }
    Ok(encoding.decode(&content, if encoding.gzip { MAX_TEXT_BYTES } else { MAX_RAW_BYTES })?)
}

/// # Errors
/// It is not UTF-8.
fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotText)
}

fn note_ignored(what: &str, expected: &str, notes: &mut Vec<String>) {
    notes.push(format!("ignoring {what}, which is no {expected}"));
}
