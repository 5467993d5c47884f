//! How a host key is shown to somebody who shall compare it.

use russh::keys::{Algorithm, HashAlg, PublicKey};

/// `RSA`, `ED25519`, ...
pub fn kind(key: &PublicKey) -> String {
    match key.algorithm() {
        Algorithm::Rsa { .. } => "RSA".to_owned(),
        Algorithm::Ed25519 => "ED25519".to_owned(),
        Algorithm::Ecdsa { .. } => "ECDSA".to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// `aa:bb:...`, as the original shows it: for comparing with what old systems print, nothing trusts it.
pub fn md5(key: &PublicKey) -> String {
    let bytes = key.to_bytes().unwrap_or_default();
    let digits: Vec<String> = md5::compute(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(":")
}

/// `SHA256:...`, as OpenSSH shows it.
pub fn sha256(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}
