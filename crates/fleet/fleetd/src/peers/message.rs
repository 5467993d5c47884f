//! Datagrams between fleetds.
//!
//! A request has a type, a nonce of eight bytes, and the id of the target machine, as its address may have been
//! reassigned. A response has a type and the request's nonce. Both end with a tag of 16 bytes: HMAC-SHA256 over type,
//! nonce and id, with the cluster's fence key. A response is never longer than its request.

use fleet_core::{FenceKey, MachineId};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

type Kind = [u8; 7];
const REQUEST: &Kind = b"fleet3?";
const HAS_STORE: &Kind = b"fleet3+";
const NO_STORE: &Kind = b"fleet3-";
const TAG_BYTES: usize = 16;
/// Limit of a datagram: a machine id has 32 digits.
pub const MAX_BYTES: usize = 128;

/// Identifies a request and its response.
pub type Nonce = [u8; 8];

/// A request to the machine `id`.
pub fn request(key: &FenceKey, nonce: &Nonce, id: &MachineId) -> Vec<u8> {
    [REQUEST, nonce.as_slice(), id.as_str().as_bytes(), &tag(key, REQUEST, nonce, id)].concat()
}

/// The nonce of a valid request to the machine `me`.
pub fn parse_request(key: &FenceKey, me: &MachineId, datagram: &[u8]) -> Option<Nonce> {
    let (nonce, rest) = datagram.strip_prefix(REQUEST)?.split_first_chunk()?;
    let tag = rest.strip_prefix(me.as_str().as_bytes())?;
    is_valid(key, REQUEST, nonce, me, tag).then_some(*nonce)
}

/// The response of the machine `me`.
pub fn response(key: &FenceKey, nonce: &Nonce, me: &MachineId, has_store: bool) -> Vec<u8> {
    let kind = if has_store { HAS_STORE } else { NO_STORE };
    [kind, nonce.as_slice(), &tag(key, kind, nonce, me)].concat()
}

/// Whether the machine `id` reaches the store, from its valid response to the request with this nonce.
pub fn parse_response(key: &FenceKey, nonce: &Nonce, id: &MachineId, datagram: &[u8]) -> Option<bool> {
    let (kind, rest) = datagram.split_first_chunk::<{ REQUEST.len() }>()?;
    let has_store = [(HAS_STORE, true), (NO_STORE, false)].into_iter().find(|(known, _)| *known == kind)?.1;
    is_valid(key, kind, nonce, id, rest.strip_prefix(nonce)?).then_some(has_store)
}

fn tag(key: &FenceKey, kind: &Kind, nonce: &Nonce, id: &MachineId) -> [u8; TAG_BYTES] {
    let full: [u8; 32] = mac(key, kind, nonce, id).finalize().into_bytes().into();
    std::array::from_fn(|index| full[index])
}

fn is_valid(key: &FenceKey, kind: &Kind, nonce: &Nonce, id: &MachineId, tag: &[u8]) -> bool {
    tag.len() == TAG_BYTES && mac(key, kind, nonce, id).verify_truncated_left(tag).is_ok()
}

fn mac(key: &FenceKey, kind: &Kind, nonce: &Nonce, id: &MachineId) -> Hmac<Sha256> {
    // invariant: HMAC takes keys of any length.
    #[allow(clippy::expect_used, reason = "cannot fail")]
    let mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("a key of any length");
    mac.chain_update(kind).chain_update(nonce).chain_update(id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_holders_of_the_key_are_believed() {
        let [key, other] = [1, 2].map(|byte| FenceKey([byte; FenceKey::BYTES]));
        let [me, peer] = ["me", "peer"].map(MachineId::new);
        let nonce = *b"12345678";
        let sent = request(&key, &nonce, &me);
        assert_eq!(parse_request(&key, &me, &sent), Some(nonce));
        assert_eq!(parse_request(&other, &me, &sent), None);
        assert_eq!(parse_request(&key, &peer, &sent), None);
        for has_store in [true, false] {
            let answered = response(&key, &nonce, &me, has_store);
            assert!(answered.len() <= sent.len());
            assert_eq!(parse_response(&key, &nonce, &me, &answered), Some(has_store));
            assert_eq!(parse_response(&other, &nonce, &me, &answered), None);
            assert_eq!(parse_response(&key, &nonce, &peer, &answered), None);
            assert_eq!(parse_response(&key, b"87654321", &me, &answered), None);
        }
        // Neither is valid as the other, and no prefix or changed bit is.
        assert_eq!(parse_response(&key, &nonce, &me, &sent), None);
        let answered = response(&key, &nonce, &me, true);
        for length in 0..answered.len() {
            assert_eq!(parse_response(&key, &nonce, &me, &answered[..length]), None);
        }
        for bit in 0..8 * sent.len() {
            let mut changed = sent.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_request(&key, &me, &changed), None, "bit {bit}");
        }
        for length in 0..sent.len() {
            assert_eq!(parse_request(&key, &me, &sent[..length]), None);
        }
    }
}
