//! Root metadata that keys on tokens sign.

use std::num::NonZeroU64;

use pkcs11_signer::{Pkcs11Signer, PublicKey};
use tuf::{Ed25519Signer, Key, ListedSigner, Root, Signed, Signer, add_signatures, role_type, sign};

use crate::tokens::{P256, SoftHsm, TestToken, Typed, with_softhsm};

const TWO: NonZeroU64 = NonZeroU64::new(2).unwrap();

fn root(keys: [&Key; 3]) -> Root {
    let mut root = Root::new(tuf::Date::from_unix(4_000_000_000).unwrap(), true);
    root.set_keys(role_type::ROOT, &keys, TWO);
    root
}

fn logged_out(softhsm: &SoftHsm, make: impl FnOnce(&TestToken)) {
    let token = softhsm.token("safe");
    make(&token);
    token.session.logout().unwrap();
}

#[test]
fn two_keys_on_a_token_of_three_sign_a_root() {
    with_softhsm("roots::two_keys_on_a_token_of_three_sign_a_root", |softhsm| {
        logged_out(softhsm, |token| {
            token.ec(P256, "root-1", 1);
            token.ed25519("root-2", 2);
        });
        let (first, second) = (softhsm.open("token=safe;object=root-1"), softhsm.open("object=root-2"));
        let (first, second) = (first.unwrap(), second.unwrap());
        let third = Ed25519Signer::from_seed(&[3; 32]).unwrap();
        let root = root([first.key(), second.key(), third.key()]);

        let one = sign(root.clone(), &[&first]).unwrap().to_bytes().unwrap();
        assert!(Root::first(&one).is_err(), "one signature is below the threshold");
        let both = add_signatures(&one, &[&second]).unwrap();
        assert_eq!(Root::first(&both).unwrap(), root);
        let mut changed = Signed::<Root>::parse(&both).unwrap();
        changed.signed.header.version = TWO;
        assert!(Root::first(&changed.to_bytes().unwrap()).is_err());
        let mixed = sign(root, &[&third, &first]).unwrap().to_bytes().unwrap();
        assert!(Root::first(&mixed).is_ok());
    });
}

/// ECDSA's integers vary in length: the DER of each must be minimal.
#[test]
fn signatures_of_all_key_types_verify() {
    with_softhsm("roots::signatures_of_all_key_types_verify", |softhsm| {
        logged_out(softhsm, |token| {
            token.ec(P256, "ec", 1);
            token.ed25519("ed", 2);
            token.rsa(2048, "rsa", 3);
        });
        for (label, scheme, times) in
            [("ec", "ecdsa-sha2-nistp256", 300), ("ed", "ed25519", 3), ("rsa", "rsassa-pss-sha256", 3)]
        {
            let signer = softhsm.open(&format!("object={label}")).unwrap();
            assert_eq!((&*signer.public().label, &*signer.key().scheme), (label, scheme));
            for number in 0..times {
                let message = format!("message {number}");
                let signature = signer.sign(message.as_bytes()).unwrap();
                assert!(signer.key().made(message.as_bytes(), &signature));
                assert!(!signer.key().made(b"another", &signature));
            }
        }
    });
}

#[test]
fn a_public_key_is_read_without_a_pin_and_listed_with_a_name() {
    with_softhsm("roots::a_public_key_is_read_without_a_pin_and_listed_with_a_name", |softhsm| {
        logged_out(softhsm, |token| {
            token.ec(P256, "root-1", 1);
        });
        let uri = softhsm.uri("token=safe;object=root-1", "");
        let public = PublicKey::read(&uri, &Typed::nothing()).unwrap();
        let mut named = public.key.clone();
        named.extra.insert("x-keelson-name".to_owned(), "root-1".into());
        let other = Ed25519Signer::from_seed(&[3; 32]).unwrap();
        let open = || Pkcs11Signer::open(&uri, &Typed::pin(crate::tokens::PIN)).unwrap();
        assert_eq!(open().key(), &public.key);

        let third = Ed25519Signer::from_seed(&[4; 32]).unwrap();
        let root = root([&named, other.key(), third.key()]);
        let signer = open();
        let listed = ListedSigner::of(&root.roles.root, &root.keys, &signer).unwrap();
        let signed = sign(root.clone(), &[&listed, &other]).unwrap();
        assert!(Root::first(&signed.to_bytes().unwrap()).is_ok());
    });
}
