//! Public keys in minisign's format.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An ed25519 public key.
pub type PublicKeyBytes = [u8; 32];

/// Precedes the key id.
const ALGORITHM: &[u8] = b"Ed";
const COMMENT: &str = "untrusted comment:";
/// Where the key begins, after the algorithm and the key id, which is arbitrary.
const KEY: usize = 10;

/// A key file that is not in minisign's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid minisign public key {name}")]
pub struct KeyError {
    name: String,
}

/// The key in the text of a `.pub` file. `name` is for messages.
///
/// # Errors
/// It is no minisign public key.
pub fn public_key(name: &str, text: &str) -> Result<PublicKeyBytes, KeyError> {
    let key = || {
        let mut lines = text.lines();
        lines.next()?.strip_prefix(COMMENT)?;
        let bytes = STANDARD.decode(lines.next()?.trim_end()).ok()?;
        bytes.strip_prefix(ALGORITHM)?;
        bytes.get(KEY..)?.try_into().ok()
    };
    key().ok_or_else(|| KeyError { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn public_keys_are_read_and_nothing_else() {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let text = pair.pk.to_box().unwrap().to_string();
        let key = public_key("a.pub", &text).unwrap();
        assert_eq!(pair.pk.to_bytes()[KEY..], key);
        assert_eq!(public_key("a.pub", &text.replace('\n', "\r\n")), Ok(key));
        let secret = pair.sk.to_box(None).unwrap().into_string();
        let half = &text[..text.len() - 8];
        for bad in ["", "untrusted comment: x", "untrusted comment: x\nAAAA\n", half, &secret] {
            let error = public_key("a.pub", bad).unwrap_err().to_string();
            assert_eq!(error, "invalid minisign public key a.pub", "{bad}");
        }
    }
}
