//! Secret key files in minisign's format, as far as they can be read without a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Decoded length: algorithms, salt, limits of the key derivation, key id, key, checksum.
const LENGTH: usize = 158;
const ALGORITHM: &[u8] = b"Ed";
const CHECKSUM: &[u8] = b"B2";
const NO_DERIVATION: &[u8] = &[0, 0];
const COMMENT: &str = "untrusted comment:";

/// The readable part of a secret key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretKeyHeader<'a> {
    /// Not signed: whoever can write the file can change it.
    pub comment: &'a str,
    /// Whether a password is needed to sign.
    pub is_encrypted: bool,
}

impl<'a> SecretKeyHeader<'a> {
    /// `None` if `text` is not a secret key.
    #[must_use]
    pub fn of_file(text: &'a str) -> Option<Self> {
        let mut lines = text.lines();
        let comment = lines.next()?.strip_prefix(COMMENT)?.trim();
        let bytes = STANDARD.decode(lines.next()?.trim_end()).ok()?;
        let is_secret = bytes.len() == LENGTH && bytes.starts_with(ALGORITHM) && bytes[4..6] == *CHECKSUM;
        is_secret.then(|| Self { comment, is_encrypted: bytes[2..4] != *NO_DERIVATION })
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn secret_keys_are_recognized_and_nothing_else() {
        let plain = KeyPair::generate_unencrypted_keypair().unwrap();
        let encrypted = KeyPair::generate_encrypted_keypair(Some("password".into())).unwrap();
        for (pair, is_encrypted) in [(&plain, false), (&encrypted, true)] {
            let text = pair.sk.to_box(Some("a comment")).unwrap().into_string();
            let header = SecretKeyHeader::of_file(&text).unwrap();
            assert_eq!(header, SecretKeyHeader { comment: "a comment", is_encrypted });
            assert_eq!(SecretKeyHeader::of_file(&text.replace('\n', "\r\n")).unwrap(), header);
        }
        let public = plain.pk.to_box().unwrap().to_string();
        let signature = minisign::sign(None, &plain.sk, &b"text"[..], None, None).unwrap().to_string();
        for text in [&*public, &*signature, "", "untrusted comment: x", "untrusted comment: x\nRWQ=\n"] {
            assert_eq!(SecretKeyHeader::of_file(text), None, "{text}");
        }
    }
}
