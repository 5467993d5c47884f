//! Checks SSH public keys: format and completeness.

use crate::config::Text;
use crate::encoding::decode_base64;
use crate::finding::{Finding, Severity};

/// Prefixes of key types; options may precede them.
const KEY_TYPES: [&str; 4] = ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"];
/// Certificates have additional fields, which are not checked.
const CERTIFICATE: &str = "-cert-v01@openssh.com";
const LENGTH_BYTES: usize = 4;

pub(super) fn check(key: &Text, findings: &mut Vec<Finding>) {
    let mut words = key.text.split_ascii_whitespace();
    let kind = words.find(|word| KEY_TYPES.iter().any(|kind| word.starts_with(kind)));
    let message = match kind {
        None if key.text.trim().is_empty() => return,
        None => "this does not look like an ssh public key",
        Some(kind) if kind.ends_with(CERTIFICATE) || is_whole(kind, words.next()) => return,
        Some(_) => "this ssh public key looks cut off",
    };
    findings.push(Finding::new(Severity::Warning, key.location, message));
}

/// The key blob is a sequence of length-prefixed fields (RFC 4253, 6.6); the first is the key type.
fn is_whole(kind: &str, key: Option<&str>) -> bool {
    let Some(Ok(decoded)) = key.map(|key| decode_base64(key.as_bytes())) else { return false };
    let mut rest = &*decoded.bytes;
    let mut fields = 0;
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((field, after)) = after.split_at_checked(length) else { return false };
        if fields == 0 && field != kind.as_bytes() {
            return false;
        }
        fields += 1;
        rest = after;
    }
    rest.is_empty() && fields > 1
}
