//! Encodings of public keys and signatures: PKCS#11's to those of X.509, which TUF's have.

use der::asn1::{AnyRef, BitString, ObjectIdentifier, OctetStringRef, UintRef};
use der::pem::LineEnding;
use der::{Decode as _, Encode as _, EncodePem as _, Sequence};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// PKCS#11's name of the curve, a `PrintableString`.
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// Bytes of an integer of P-256.
const P256_LENGTH: usize = 32;
/// First byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;
/// Bytes of the shortest modulus that verifies.
const MIN_MODULUS: usize = 2048 / 8;

#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Whether `CKA_EC_PARAMS` is the curve P-256.
pub fn is_p256(parameters: &[u8]) -> bool {
    ObjectIdentifier::from_der(parameters).is_ok_and(|curve| curve == P256)
}

/// Whether `CKA_EC_PARAMS` is Ed25519's curve: its name, or its object identifier.
pub fn is_ed25519(parameters: &[u8]) -> bool {
    parameters == ED25519_NAME || ObjectIdentifier::from_der(parameters).is_ok_and(|curve| curve == ED25519)
}

/// PEM of a key on P-256 from `CKA_EC_POINT`. `None` for another point.
pub fn p256_pem(point: &[u8]) -> Option<String> {
    let point = octets(point, 1 + 2 * P256_LENGTH);
    let is_point = point.len() == 1 + 2 * P256_LENGTH && point.first() == Some(&UNCOMPRESSED);
    let curve = P256.to_der().ok()?;
    let parameters = AnyRef::from_der(&curve).ok()?;
    is_point.then(|| pem(EC_PUBLIC_KEY, parameters, point))?
}

/// An Ed25519 key's 32 bytes from `CKA_EC_POINT`. `None` for another length.
pub fn ed25519_bytes(point: &[u8]) -> Option<[u8; 32]> {
    octets(point, 32).try_into().ok()
}

/// PEM of an RSA key from `CKA_MODULUS` and `CKA_PUBLIC_EXPONENT`. `None` for one that is too short.
pub fn rsa_pem(modulus: &[u8], exponent: &[u8]) -> Option<String> {
    let key = RsaPublicKey { modulus: UintRef::new(modulus).ok()?, exponent: UintRef::new(exponent).ok()? };
    (key.modulus.as_bytes().len() >= MIN_MODULUS).then(|| pem(RSA, AnyRef::NULL, &key.to_der().ok()?))?
}

/// A signature as X.509 has it, `SEQUENCE { r, s }` in DER, from `r || s`. `None` for another length.
pub fn ecdsa_der(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 2 * P256_LENGTH {
        return None;
    }
    let (r, s) = signature.split_at(P256_LENGTH);
    EcdsaSignature { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? }.to_der().ok()
}

fn pem(algorithm: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<String> {
    let algorithm = AlgorithmIdentifierRef { oid: algorithm, parameters: Some(parameters) };
    let subject_public_key = BitString::from_bytes(key).ok()?;
    SubjectPublicKeyInfo { algorithm, subject_public_key }.to_pem(LineEnding::LF).ok()
}

/// The content of an `OCTET STRING`. Some tokens have the bare content, which has `length` bytes.
fn octets(value: &[u8], length: usize) -> &[u8] {
    if value.len() == length {
        return value;
    }
    <&OctetStringRef>::from_der(value).map_or(value, OctetStringRef::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_a_signature_are_positive_and_minimal() {
        let check = |r: &[u8], s: &[u8], expected: &[u8]| {
            let mut raw = [0; 64];
            raw[32 - r.len()..32].copy_from_slice(r);
            raw[64 - s.len()..].copy_from_slice(s);
            assert_eq!(ecdsa_der(&raw).unwrap(), expected);
        };
        check(&[1], &[2], b"\x30\x06\x02\x01\x01\x02\x01\x02");
        check(&[0x80], &[0x7f], b"\x30\x07\x02\x02\x00\x80\x02\x01\x7f");
        check(&[1, 0], &[], b"\x30\x07\x02\x02\x01\x00\x02\x01\x00");
        let longest = ecdsa_der(&[0xff; 64]).unwrap();
        assert_eq!((longest.len(), &longest[..5]), (72, &b"\x30\x46\x02\x21\x00"[..]));
        assert!(ecdsa_der(&[1; 63]).is_none() && ecdsa_der(&[1; 96]).is_none() && ecdsa_der(&[]).is_none());
    }

    #[test]
    fn points_are_accepted_bare_and_as_octet_strings() {
        let bare = [&[4][..], &[7; 64]].concat();
        let wrapped = [&[4, 65][..], &bare].concat();
        let pem = p256_pem(&bare).unwrap();
        assert_eq!(p256_pem(&wrapped).as_ref(), Some(&pem));
        let begin = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBwcH";
        assert!(pem.starts_with(begin), "{pem}");
        for other in [&bare[..64], &[2; 65], &[4, 65], &[]] {
            assert!(p256_pem(other).is_none(), "{other:?}");
        }
        assert_eq!(ed25519_bytes(&[9; 32]), Some([9; 32]));
        assert_eq!(ed25519_bytes(&[&[4, 32][..], &[9; 32]].concat()), Some([9; 32]));
        assert_eq!(ed25519_bytes(&[9; 33]), None);
    }

    #[test]
    fn curves_are_distinguished() {
        assert!(is_p256(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"));
        assert!(!is_p256(b"\x06\x05\x2b\x81\x04\x00\x22") && !is_p256(b""));
        assert!(is_ed25519(b"\x13\x0cedwards25519") && is_ed25519(b"\x06\x03\x2b\x65\x70"));
        assert!(!is_ed25519(b"\x06\x03\x2b\x65\x71") && !is_ed25519(b""));
    }

    #[test]
    fn a_short_modulus_is_refused() {
        assert!(rsa_pem(&[0xff; 256], &[1, 0, 1]).is_some());
        assert!(rsa_pem(&[0xff; 128], &[1, 0, 1]).is_none());
        assert!(rsa_pem(&[&[0; 128][..], &[0xff; 128]].concat(), &[1, 0, 1]).is_none());
    }
}
