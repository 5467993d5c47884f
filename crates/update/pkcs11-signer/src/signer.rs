//! Signs with a key on a token.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType};
use cryptoki::session::UserType;
use sha2::{Digest as _, Sha256};
use tuf::{Key, Signer};

use crate::encoding::ecdsa_der;
use crate::error::{Cause, Pkcs11Error};
use crate::object::{Object, attributes};
use crate::pin::{Pin, PinPrompt};
use crate::public_key::{PublicKey, private};
use crate::token::Token;
use crate::uri::KeyUri;

/// Bytes of a PSS signature's salt: as many as the digest has (RFC 8017), which TUF's verifiers expect.
const SALT_LENGTH: u64 = 32;

/// A key pair on a token. Sessions and the login end with the last signer of the process.
pub struct Pkcs11Signer {
    uri: KeyUri,
    token: Token,
    private: Object,
    public: PublicKey,
    /// For a key that wants it before each signature (`CKA_ALWAYS_AUTHENTICATE`).
    pin: Option<Reauthentication>,
}

/// The PIN that is sent before each signature. `None`: it is entered on the reader.
struct Reauthentication(Option<Pin>);

impl Pkcs11Signer {
    /// Finds the key that a URI selects, and logs in. The PIN is from the URI's `pin-source`, or from `prompt`; it is
    /// tried once.
    ///
    /// # Errors
    /// See [`Cause`].
    pub fn open(uri: &KeyUri, prompt: &dyn PinPrompt) -> Result<Self, Pkcs11Error> {
        Self::find(uri, prompt).map_err(|cause| Pkcs11Error::new(uri, cause))
    }

    fn find(uri: &KeyUri, prompt: &dyn PinPrompt) -> Result<Self, Cause> {
        let token = Token::open(uri)?;
        let used = token.log_in(uri, prompt)?;
        let private = private(&token, uri)?;
        let public = PublicKey::of(&token, &private)?;
        let always = attributes(&token, private.handle, &[AttributeType::AlwaysAuthenticate])?;
        let pin = match (always.contains(&Attribute::AlwaysAuthenticate(true)), used) {
            (false, _) => None,
            (true, Some(pin)) => Some(Reauthentication(Some(pin))),
            (true, None) if token.has_keypad()? => Some(Reauthentication(None)),
            // Another signer of this process logged in.
            (true, None) => Some(Reauthentication(Some(token.pin(uri, prompt)?))),
        };
        let signer = Self { uri: uri.clone(), token, private, public, pin };
        let (_, mechanism, name) = signer.mechanism();
        if signer.token.has_mechanism(mechanism)? {
            return Ok(signer);
        }
        let (token, key) = (signer.token.name.clone(), signer.private.name());
        Err(Cause::Mechanism { token, key, mechanism: name })
    }

    /// The public key and its label.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What the token computes. A PIN before each signature must be sent between two calls, so the token hashes then.
    fn mechanism(&self) -> (Mechanism<'static>, MechanismType, &'static str) {
        match (self.private.key_type, &self.pin) {
            (Some(KeyType::EC), None) => (Mechanism::Ecdsa, MechanismType::ECDSA, "CKM_ECDSA"),
            (Some(KeyType::EC), Some(_)) => {
                (Mechanism::EcdsaSha256, MechanismType::ECDSA_SHA256, "CKM_ECDSA_SHA256")
            }
            (Some(KeyType::RSA), _) => {
                let parameters = PkcsPssParams {
                    hash_alg: MechanismType::SHA256,
                    mgf: PkcsMgfType::MGF1_SHA256,
                    s_len: SALT_LENGTH.into(),
                };
                let mechanism = Mechanism::Sha256RsaPkcsPss(parameters);
                (mechanism, MechanismType::SHA256_RSA_PKCS_PSS, "CKM_SHA256_RSA_PKCS_PSS")
            }
            // invariant: a public key of another type is refused.
            _ => {
                let parameters = EddsaParams::new(EddsaSignatureScheme::Ed25519);
                (Mechanism::Eddsa(parameters), MechanismType::EDDSA, "CKM_EDDSA")
            }
        }
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Cause> {
        let failed = self.token.failed("sign");
        let (session, key) = (&self.token.session, self.private.handle);
        let (mechanism, kind, _) = self.mechanism();
        let signed = match &self.pin {
            None if kind == MechanismType::ECDSA => session.sign(&mechanism, key, &Sha256::digest(message)),
            None => session.sign(&mechanism, key, message),
            Some(Reauthentication(pin)) => {
                session.sign_init(&mechanism, key).map_err(&failed)?;
                self.token.authenticate(UserType::ContextSpecific, pin.as_ref())?;
                session.sign_update(message).and_then(|()| session.sign_final())
            }
        };
        let signed = signed.map_err(failed)?;
        let signature = match self.private.key_type {
            Some(KeyType::EC) => ecdsa_der(&signed),
            _ => Some(signed),
        };
        let is_verified = |signature: &Vec<u8>| self.public.key.made(message, signature);
        signature
            .filter(is_verified)
            .ok_or_else(|| Cause::OtherKey { token: self.token.name.clone(), key: self.private.name() })
    }
}

impl Signer for Pkcs11Signer {
    fn key(&self) -> &Key {
        &self.public.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.signature(message).map_err(|cause| service::error::chain(&Pkcs11Error::new(&self.uri, cause)))
    }
}
