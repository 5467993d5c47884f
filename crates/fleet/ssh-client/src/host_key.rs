//! Public keys of hosts, in the format of known hosts files, and their fingerprints.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    algorithm: String,
    /// RFC 4253, section 6.6.
    blob: Vec<u8>,
}

impl HostKey {
    /// From `ALGORITHM BASE64`; a comment may follow.
    pub fn parse(text: &str) -> Option<HostKey> {
        let mut fields = text.split_ascii_whitespace();
        let algorithm = fields.next()?.to_owned();
        let blob = STANDARD.decode(fields.next()?).ok()?;
        let (length, rest) = blob.split_first_chunk()?;
        let inner_algorithm = rest.get(..u32::from_be_bytes(*length) as usize)?;
        (inner_algorithm == algorithm.as_bytes()).then_some(HostKey { algorithm, blob })
    }

    /// `RSA`, `ED25519`, ...
    pub fn kind(&self) -> &str {
        match self.algorithm.as_str() {
            "ssh-rsa" => "RSA",
            "ssh-ed25519" => "ED25519",
            name if name.starts_with("ecdsa-sha2-") => "ECDSA",
            other => other,
        }
    }

    /// `aa:bb:...`, as in fleet. Display only: old systems print this fingerprint.
    pub fn md5(&self) -> String {
        let digits: Vec<String> = md5::compute(&self.blob).iter().map(|byte| format!("{byte:02x}")).collect();
        digits.join(":")
    }

    /// `SHA256:...`, as in OpenSSH.
    pub fn sha256(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }
}

/// A line of a known hosts file without the host.
impl fmt::Display for HostKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    /// The fingerprints are those of `ssh-keygen -l`.
    #[test]
    fn fingerprints() {
        let key = HostKey::parse(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(key.kind(), "ED25519");
        assert_eq!(key.md5(), "46:5d:0f:4b:7b:74:b6:5f:ce:80:b0:33:70:9e:33:96");
        assert_eq!(key.sha256(), "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
        assert_eq!(HostKey::parse(&format!("{KEY} a comment")), Some(key));
    }

    #[test]
    fn invalid_keys_are_rejected() {
        let (algorithm, blob) = KEY.split_once(' ').unwrap();
        for text in [
            "",
            algorithm,
            "ssh-ed25519 x",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 /////w==",
            &format!("ssh-rsa {blob}"),
        ] {
            assert_eq!(HostKey::parse(text), None, "{text}");
        }
    }
}
