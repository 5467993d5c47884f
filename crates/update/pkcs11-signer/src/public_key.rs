//! The public half of a key on a token.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use tuf::Key;

use crate::encoding::{ed25519_bytes, is_ed25519, is_p256, p256_pem, rsa_pem};
use crate::error::{Cause, Pkcs11Error};
use crate::object::{Object, attributes};
use crate::pin::PinPrompt;
use crate::token::Token;
use crate::uri::KeyUri;

/// A public key of a token, as metadata lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The object's label; it may be empty.
    pub label: String,
    /// The key.
    pub key: Key,
}

impl PublicKey {
    /// Reads the public key that a URI selects. The PIN is only asked for if the token hides its keys without it.
    ///
    /// # Errors
    /// See [`Cause`].
    pub fn read(uri: &KeyUri, prompt: &dyn PinPrompt) -> Result<Self, Pkcs11Error> {
        let read = || {
            let token = Token::open(uri)?;
            let mut found = Object::find(&token, ObjectClass::PUBLIC_KEY, uri)?;
            if found.is_empty() {
                token.log_in(uri, prompt)?;
                found = Object::find(&token, ObjectClass::PUBLIC_KEY, uri)?;
            }
            match &*found {
                [] => Self::of(&token, &private(&token, uri)?),
                [object] => Self::from(&token, object, object),
                several => Err(several_keys(&token, several)),
            }
        };
        read().map_err(|cause| Pkcs11Error::new(uri, cause))
    }

    /// Of a private key. Some tokens have no object for it, but its values at the private key.
    pub fn of(token: &Token, private: &Object) -> Result<Self, Cause> {
        match &*private.companions(token)? {
            [] => Self::from(token, private, private),
            [public] => Self::from(token, public, private),
            several => Err(several_keys(token, several)),
        }
    }

    /// From the attributes of `object`.
    fn from(token: &Token, object: &Object, named: &Object) -> Result<Self, Cause> {
        let (mut parameters, mut point, mut modulus, mut exponent) = (vec![], vec![], vec![], vec![]);
        let which = match object.key_type {
            Some(KeyType::RSA) => [AttributeType::Modulus, AttributeType::PublicExponent],
            Some(KeyType::EC | KeyType::EC_EDWARDS) => [AttributeType::EcParams, AttributeType::EcPoint],
            _ => return Err(unsupported(token, named)),
        };
        for attribute in attributes(token, object.handle, &which)? {
            match attribute {
                Attribute::EcParams(value) => parameters = value,
                Attribute::EcPoint(value) => point = value,
                Attribute::Modulus(value) => modulus = value,
                Attribute::PublicExponent(value) => exponent = value,
                _ => {}
            }
        }
        if point.is_empty() && (modulus.is_empty() || exponent.is_empty()) {
            return Err(Cause::NoPublicKey { token: token.name.clone(), key: named.name() });
        }
        let key = match object.key_type {
            Some(KeyType::RSA) => rsa_pem(&modulus, &exponent).and_then(|pem| Key::rsa_pss(&pem)),
            Some(KeyType::EC) if is_p256(&parameters) => {
                p256_pem(&point).and_then(|pem| Key::ecdsa_p256(&pem))
            }
            Some(KeyType::EC_EDWARDS) if is_ed25519(&parameters) => {
                ed25519_bytes(&point).map(|bytes| Key::ed25519(&bytes))
            }
            _ => None,
        };
        let key = key.ok_or_else(|| unsupported(token, named))?;
        Ok(Self { label: named.label.clone(), key })
    }
}

/// The private key that a URI selects. The token must be logged in.
pub fn private(token: &Token, uri: &KeyUri) -> Result<Object, Cause> {
    let mut found = Object::find(token, ObjectClass::PRIVATE_KEY, uri)?;
    match (found.pop(), &*found) {
        (Some(object), []) => Ok(object),
        (Some(last), _) => {
            found.push(last);
            Err(several_keys(token, &found))
        }
        (None, _) => {
            let present = Object::all(token, ObjectClass::PRIVATE_KEY)?.iter().map(Object::name).collect();
            Err(Cause::KeyMissing { token: token.name.clone(), present })
        }
    }
}

fn several_keys(token: &Token, found: &[Object]) -> Cause {
    Cause::SeveralKeys { token: token.name.clone(), found: found.iter().map(Object::name).collect() }
}

fn unsupported(token: &Token, object: &Object) -> Cause {
    let what = match object.key_type {
        Some(KeyType::RSA) => "a short RSA key".to_owned(),
        Some(KeyType::EC | KeyType::EC_EDWARDS) => "on another curve".to_owned(),
        Some(other) => format!("of type {other}"),
        None => "of an unknown type".to_owned(),
    };
    Cause::Unsupported { token: token.name.clone(), key: object.name(), what }
}
