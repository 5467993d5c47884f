//! PINs: each is tried once, and in no error.

use std::sync::atomic::Ordering;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use pkcs11_signer::{Cause, Pkcs11Signer, PublicKey, Tries};
use tuf::Signer as _;

use crate::tokens::{P256, PIN, Typed, rsa_size, shown, with_softhsm};

#[test]
fn a_wrong_pin_is_tried_once() {
    with_softhsm("pins::a_wrong_pin_is_tried_once", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P256, "root-1", 1);
        token.session.logout().unwrap();
        let uri = softhsm.uri("object=root-1", "");
        let wrong = Typed::pin("161803");
        let Err(error) = Pkcs11Signer::open(&uri, &wrong) else { panic!("opened") };
        assert_eq!(wrong.prompts.load(Ordering::Relaxed), 1);
        assert_eq!(*wrong.tries.lock().unwrap(), Some(Tries::NotReduced));
        assert!(matches!(error.cause(), Cause::WrongPin { tries: Tries::Reduced, .. }), "{error:?}");
        let text = shown(&error);
        assert!(
            !text.contains("161803") && text.contains("\"safe\"") && text.contains("fewer attempts"),
            "{text}"
        );

        let right = Typed::pin(PIN);
        assert!(Pkcs11Signer::open(&uri, &right).is_ok());
        assert_eq!(*right.tries.lock().unwrap(), Some(Tries::Reduced), "the user learns of the wrong one");
    });
}

#[test]
fn without_a_terminal_a_pin_is_needed() {
    with_softhsm("pins::without_a_terminal_a_pin_is_needed", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P256, "root-1", 1);
        token.session.logout().unwrap();
        let Err(error) = Pkcs11Signer::open(&softhsm.uri("object=root-1", ""), &Typed::nothing()) else {
            panic!("opened")
        };
        assert!(matches!(error.cause(), Cause::PinNeeded { .. }), "{error:?}");
        assert!(shown(&error).contains("no terminal") && shown(&error).contains("pin-source"));
    });
}

#[test]
fn a_pin_is_read_from_a_file() {
    with_softhsm("pins::a_pin_is_read_from_a_file", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P256, "root-1", 1);
        token.session.logout().unwrap();
        let file = softhsm.folder.join("pin");
        let uri = softhsm.uri("object=root-1", &format!("&pin-source=file:{}", file.display()));
        let open = || Pkcs11Signer::open(&uri, &Typed::nothing());
        let Err(error) = open() else { panic!("opened") };
        assert!(matches!(error.cause(), Cause::PinSource { .. }), "{error:?}");
        std::fs::write(&file, "161803\n").unwrap();
        let Err(error) = open() else { panic!("opened") };
        assert!(matches!(error.cause(), Cause::WrongPin { .. }), "{error:?}");
        assert!(!shown(&error).contains("161803"));
        std::fs::write(&file, format!("{PIN}\n")).unwrap();
        open().unwrap().sign(b"message").unwrap();
    });
}

#[test]
fn a_pin_before_each_signature_is_sent_again() {
    with_softhsm("pins::a_pin_before_each_signature_is_sent_again", |softhsm| {
        let token = softhsm.token("safe");
        token.always_authenticated(&Mechanism::RsaPkcsKeyPairGen, &rsa_size(2048), "rsa", 1);
        let curve = [Attribute::EcParams(P256.to_vec())];
        token.always_authenticated(&Mechanism::EccKeyPairGen, &curve, "ec", 2);
        token.session.logout().unwrap();
        let signer = softhsm.open("object=rsa").unwrap();
        for message in [b"one", b"two"] {
            let signature = signer.sign(message).unwrap();
            assert!(signer.key().made(message, &signature));
        }
        // The first signer logged in: the second one has not asked yet.
        let (uri, typed) = (softhsm.uri("object=rsa", ""), Typed::pin("161803"));
        let second = Pkcs11Signer::open(&uri, &typed).unwrap();
        let error = second.sign(b"one").unwrap_err();
        assert!(error.contains("wrong PIN") && !error.contains("161803"), "{error}");
        assert_eq!(typed.prompts.load(Ordering::Relaxed), 1);
        // SoftHSM does not hash for ECDSA.
        let error = softhsm.refused("object=ec");
        assert!(matches!(error.cause(), Cause::Mechanism { mechanism: "CKM_ECDSA_SHA256", .. }), "{error:?}");
    });
}

#[test]
fn a_token_without_a_user_pin_is_reported() {
    with_softhsm("pins::a_token_without_a_user_pin_is_reported", |softhsm| {
        let slot = softhsm.context.get_slots_with_token().unwrap().remove(0);
        let so_pin = cryptoki::types::AuthPin::new(crate::tokens::SO_PIN.into());
        softhsm.context.init_token(slot, &so_pin, "safe").unwrap();
        let typed = Typed::pin(PIN);
        let Err(error) = PublicKey::read(&softhsm.uri("object=root-1", ""), &typed) else { panic!("read") };
        assert!(matches!(error.cause(), Cause::NoPinSet { .. }), "{error:?}");
        assert_eq!(typed.prompts.load(Ordering::Relaxed), 0);
    });
}
