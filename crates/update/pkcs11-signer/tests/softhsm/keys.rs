//! Which key of a token is used.

use cryptoki::object::{Attribute, ObjectClass};
use pkcs11_signer::{Cause, PublicKey};
use tuf::Signer as _;

use crate::tokens::{P256, P384, PIN, Typed, shown, with_softhsm};

#[test]
fn a_key_that_is_not_unique_is_refused_with_the_labels_and_ids() {
    with_softhsm("keys::a_key_that_is_not_unique_is_refused_with_the_labels_and_ids", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P256, "root", 1);
        token.ec(P256, "root", 0xa2);
        token.session.logout().unwrap();
        let error = softhsm.refused("token=safe;object=root");
        let Cause::SeveralKeys { found, .. } = error.cause() else { panic!("{error:?}") };
        let mut found = found.clone();
        found.sort();
        assert_eq!(found, ["key \"root\" (id %01)", "key \"root\" (id %a2)"]);
        assert!(matches!(
            PublicKey::read(&softhsm.uri("object=root", ""), &Typed::nothing()).unwrap_err().cause(),
            Cause::SeveralKeys { .. }
        ));
        let first = softhsm.open("object=root;id=%01").unwrap();
        let second = softhsm.open("id=%a2").unwrap();
        assert_ne!(first.key(), second.key());
        second.sign(b"message").unwrap();
    });
}

#[test]
fn a_missing_key_is_reported_with_those_that_are_there() {
    with_softhsm("keys::a_missing_key_is_reported_with_those_that_are_there", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P256, "root-1", 1);
        token.session.logout().unwrap();
        for path in ["object=root-2", "object=root-1;id=%02"] {
            let error = softhsm.refused(path);
            let Cause::KeyMissing { present, .. } = error.cause() else { panic!("{error:?}") };
            assert_eq!(*present, ["key \"root-1\" (id %01)"]);
        }
        let uri = softhsm.uri("object=root-2", "");
        let error = PublicKey::read(&uri, &Typed::pin(PIN)).unwrap_err();
        assert!(matches!(error.cause(), Cause::KeyMissing { .. }), "{error:?}");
        // The only key of the only token.
        assert_eq!(softhsm.open("").unwrap().public().label, "root-1");
    });
}

#[test]
fn keys_that_tuf_lacks_are_refused() {
    with_softhsm("keys::keys_that_tuf_lacks_are_refused", |softhsm| {
        let token = softhsm.token("safe");
        token.ec(P384, "p384", 1);
        token.rsa(1024, "short", 2);
        token.session.logout().unwrap();
        for (path, what) in [("object=p384", "on another curve"), ("object=short", "a short RSA key")] {
            let error = softhsm.refused(path);
            assert!(matches!(error.cause(), Cause::Unsupported { .. }), "{error:?}");
            assert!(shown(&error).contains(what) && shown(&error).contains("P-256"), "{}", shown(&error));
        }
    });
}

#[test]
fn a_public_key_is_read_from_the_private_one_if_it_has_it() {
    with_softhsm("keys::a_public_key_is_read_from_the_private_one_if_it_has_it", |softhsm| {
        let token = softhsm.token("safe");
        let (ec, _) = token.ec(P256, "ec", 1);
        let (rsa, _) = token.rsa(2048, "rsa", 2);
        token.session.destroy_object(ec).unwrap();
        token.session.destroy_object(rsa).unwrap();
        assert_eq!((token.count(ObjectClass::PUBLIC_KEY), token.count(ObjectClass::PRIVATE_KEY)), (0, 2));
        token.session.logout().unwrap();
        softhsm.open("object=rsa").unwrap().sign(b"message").unwrap();
        let error = softhsm.refused("object=ec");
        assert!(matches!(error.cause(), Cause::NoPublicKey { .. }), "{error:?}");
    });
}

/// A token can have any public key beside a private one: what was signed is verified.
#[test]
fn a_signature_of_another_key_is_not_returned() {
    with_softhsm("keys::a_signature_of_another_key_is_not_returned", |softhsm| {
        let token = softhsm.token("safe");
        let (public, _) = token.ec(P256, "a", 1);
        let (_, private) = token.ec(P256, "b", 2);
        token.session.destroy_object(public).unwrap();
        token.session.update_attributes(private, &[Attribute::Id(vec![9])]).unwrap();
        let (_, unused) = token.ec(P256, "c", 9);
        token.session.destroy_object(unused).unwrap();
        token.session.logout().unwrap();
        let signer = softhsm.open("object=b").unwrap();
        let error = signer.sign(b"message").unwrap_err();
        assert!(error.contains("signed with another key"), "{error}");
    });
}

#[test]
fn a_token_that_is_not_unique_or_missing_is_reported_with_those_that_are_there() {
    with_softhsm(
        "keys::a_token_that_is_not_unique_or_missing_is_reported_with_those_that_are_there",
        |softhsm| {
            let error = softhsm.refused("token=safe");
            let Cause::TokenMissing { present, .. } = error.cause() else { panic!("{error:?}") };
            assert!(present.is_empty() && error.hint().unwrap().contains("connect the token"));

            let (first, second) = (softhsm.token("safe"), softhsm.token("safe"));
            second.ec(P256, "root-1", 1);
            for token in [&first, &second] {
                token.session.logout().unwrap();
            }
            let error = softhsm.refused("token=save");
            let Cause::TokenMissing { present, .. } = error.cause() else { panic!("{error:?}") };
            assert_eq!(present.len(), 2);
            assert!(present.iter().all(|token| token.contains("\"safe\"") && token.contains("serial")));

            let error = softhsm.refused("token=safe");
            assert!(matches!(error.cause(), Cause::SeveralTokens { .. }), "{error:?}");
            let info = softhsm.context.get_token_info(second.slot).unwrap();
            for path in [
                format!("serial={}", info.serial_number()),
                format!("slot-id={}", second.slot.id()),
                format!("token=safe;model=SoftHSM%20v2;serial={}", info.serial_number()),
            ] {
                softhsm.open(&format!("{path};object=root-1")).unwrap();
            }
        },
    );
}
