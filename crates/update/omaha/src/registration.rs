//! Proof that a client has the server's registration token.
//!
//! An extension of the protocol: [`HEADER`] of a request is the HMAC-SHA256 of its body, with the token as key. The
//! token itself is not sent. Servers without registration ignore the header.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::digest::Sha256 as Digest;

/// The header's name. Its value is the code in hexadecimal.
pub const HEADER: &str = "keelson-registration";
/// Minimum length of a token in bytes.
pub const MIN_TOKEN: usize = 16;

/// The code of a request.
pub fn code(token: &str, body: &[u8]) -> Digest {
    Digest(mac(token, body).finalize().into_bytes().into())
}

/// Whether `code` is that of the request. Takes the same time for each wrong code.
pub fn is_valid(token: &str, body: &[u8], code: Digest) -> bool {
    mac(token, body).verify_slice(&code.0).is_ok()
}

fn mac(token: &str, body: &[u8]) -> Hmac<Sha256> {
    // invariant: HMAC takes keys of any length.
    #[allow(clippy::expect_used, reason = "cannot fail")]
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).expect("a key of any length");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_hmac_sha256() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let found = code("Jefe", b"what do ya want for nothing?");
        assert_eq!(found.to_string(), expected);
        assert!(is_valid("Jefe", b"what do ya want for nothing?", found));
        assert!(!is_valid("Jefe", b"what do ya want for nothing!", found));
        assert!(!is_valid("Jeff", b"what do ya want for nothing?", found));
    }
}
