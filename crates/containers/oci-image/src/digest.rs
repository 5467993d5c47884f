//! SHA-256 digests, which name all content of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// A SHA-256 digest, displayed as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is no supported digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError(String);

impl Digest {
    /// Hashes bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of all data in `hasher`.
    #[must_use]
    pub fn from_hasher(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The 64 hexadecimal digits, a safe file name.
    #[must_use]
    pub fn hex(&self) -> String {
        self.to_string().split_off(PREFIX.len())
    }

    /// Parses the 64 hexadecimal digits alone.
    ///
    /// # Errors
    /// It is another text.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let refused = || DigestError(text.chars().take(2 * 64).collect());
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(refused()),
        };
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(refused());
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

/// The digest of a chain of layers, as the OCI image specification defines it: it depends on all of them and their order.
/// `None` without layers.
#[must_use]
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(*first, |chain, diff_id| Digest::of(format!("{chain} {diff_id}").as_bytes())))
}

impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refused = || DigestError(text.chars().take(2 * 64).collect());
        Self::from_hex(text.strip_prefix(PREFIX).ok_or_else(refused)?).map_err(|_| refused())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_one_text_is_a_digest() {
        let check = |text: &str, valid: bool| {
            let parsed = text.parse::<Digest>();
            assert_eq!(parsed.is_ok(), valid, "{text}");
            if let Ok(digest) = parsed {
                assert_eq!(digest.to_string(), text);
                assert_eq!(Digest::from_hex(&digest.hex()).unwrap(), digest);
            }
        };
        check(EMPTY, true);
        check(&EMPTY[7..], false);
        check(&EMPTY.to_uppercase(), false);
        check(&EMPTY.replace("e3b", "E3B"), false);
        check(&format!("{EMPTY}0"), false);
        check("sha512:00", false);
        check("sha256:", false);
        check("", false);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    /// Computed with sha256sum.
    #[test]
    fn a_chain_depends_on_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(&[a]), Some(a));
        let text = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb \
                    sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
        assert_eq!(chain_id(&[a, b]), Some(Digest::of(text.as_bytes())));
        assert_ne!(chain_id(&[a, b]), chain_id(&[b, a]));
    }
}
