use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

/// DER of a `SubjectPublicKeyInfo` with a P-256 key, before the point.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const NAME: &str = "quay.io/coreos/etcd:v3";

struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        Self { pair, random }
    }

    fn pem(&self) -> String {
        let der = [P256.as_slice(), self.pair.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn sign(&self, reference: &str, digest: Digest) -> CosignSignature {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": reference },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
        .into_bytes();
        let signature = STANDARD.encode(self.pair.sign(&self.random, &payload).unwrap());
        CosignSignature { payload, signature }
    }
}

fn check(trust: &Trust, digest: Digest, signatures: &Signatures, expected: Result<&str, &str>) {
    match (trust.verify(&NAME.parse().unwrap(), digest, signatures), expected) {
        (Ok(verified), Ok(key)) => assert_eq!(verified.key, key),
        (Err(error), Err(excerpt)) => assert!(error.to_string().contains(excerpt), "{error}"),
        (other, _) => panic!("{other:?}, expected {expected:?}"),
    }
}

#[test]
fn cosigns_signature_names_digest_and_image() {
    let (signer, other) = (Signer::new(), Signer::new());
    let mut trust = Trust::default();
    trust.add("quay.io/coreos", "a.pub", &signer.pem()).unwrap();
    let (digest, wrong) = (Digest::of(b"a"), Digest::of(b"b"));
    let cosign = |list: Vec<CosignSignature>| Signatures { cosign: list, ..Signatures::default() };
    let valid = || signer.sign("quay.io/coreos/etcd", digest);
    check(&trust, digest, &cosign(vec![valid()]), Ok("a.pub"));
    check(&trust, digest, &cosign(vec![other.sign("quay.io/coreos/etcd", digest), valid()]), Ok("a.pub"));
    check(&trust, digest, &cosign(vec![]), Err("has no signature"));
    check(&trust, wrong, &cosign(vec![valid()]), Err("it is for sha256:ca97"));
    check(&trust, digest, &cosign(vec![signer.sign("quay.io/coreos/flannel", digest)]), Err("for the image"));
    check(&trust, digest, &cosign(vec![signer.sign("", digest)]), Err("for the image"));
    check(&trust, digest, &cosign(vec![other.sign("quay.io/coreos/etcd", digest)]), Err("did not sign"));
    let changed = CosignSignature {
        payload: other.sign("quay.io/coreos/etcd", digest).payload,
        ..signer.sign("x", digest)
    };
    check(&trust, digest, &cosign(vec![changed]), Err("did not sign"));
    check(
        &trust,
        digest,
        &cosign(vec![CosignSignature { signature: "!".to_owned(), ..valid() }]),
        Err("no base64"),
    );
}

#[test]
fn minisign_signs_the_digests_text() {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let sign =
        |text: &str| minisign::sign(None, &pair.sk, text.as_bytes(), None, None).unwrap().into_string();
    let mut trust = Trust::default();
    trust.add("quay.io", "m.pub", &pair.pk.to_box().unwrap().to_string()).unwrap();
    trust.add("quay.io", "line.pub", &pair.pk.to_base64()).unwrap();
    let digest = Digest::of(b"a");
    let signatures = |text: &str| Signatures { minisign: vec![text.to_owned()], ..Signatures::default() };
    check(&trust, digest, &signatures(&sign(&digest.to_string())), Ok("m.pub"));
    check(&trust, digest, &signatures(&sign(&format!("{digest}\n"))), Ok("m.pub"));
    check(&trust, digest, &signatures(&sign(&digest.hex())), Err("no signature of quay.io"));
    check(&trust, Digest::of(b"b"), &signatures(&sign(&digest.to_string())), Err("m.pub: "));
    check(&trust, digest, &signatures("nonsense"), Err("m.pub: "));
}

#[test]
fn keys_are_for_a_prefix_of_whole_components() {
    let signer = Signer::new();
    let digest = Digest::of(b"a");
    let signatures =
        Signatures { cosign: vec![signer.sign("quay.io/coreos/etcd", digest)], ..Signatures::default() };
    for (prefix, trusted) in [
        ("quay.io", true),
        ("quay.io/coreos", true),
        ("quay.io/coreos/etcd", true),
        ("quay.io/core", false),
        ("quay.io/coreos/etcd/more", false),
        ("coreos", false),
        ("", false),
    ] {
        let mut trust = Trust::default();
        trust.add(prefix, "key", &signer.pem()).unwrap();
        let expected = if trusted { Ok("key") } else { Err("no key is trusted for quay.io/coreos/etcd:v3") };
        check(&trust, digest, &signatures, expected);
    }
}

#[test]
fn other_keys_are_refused() {
    let check = |text: &str, expected: &str| {
        let error = Trust::default().add("a", "k.pub", text).unwrap_err().to_string();
        assert!(error.starts_with("k.pub: ") && error.contains(expected), "{error}");
    };
    // An ed25519 key, and P-256 without a point on the curve's encoding.
    let ed25519 =
        [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &[7; 32]].concat();
    let pem = |der: &[u8]| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    };
    check(&pem(&ed25519), "another algorithm");
    check("-----BEGIN PUBLIC KEY-----\n", "expected a public key");
    check("", "expected a public key");
    check("untrusted comment: x\nAAAA\n", "expected a public key");
}
