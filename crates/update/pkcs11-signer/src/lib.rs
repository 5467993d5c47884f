//! Signers whose private keys are on a PKCS#11 token: a security key, a smart card, an HSM.
//!
//! [`KeyUri`] (RFC 7512) names the module, the token and the key. [`Pkcs11Signer`] signs TUF metadata with it,
//! [`PublicKey`] reads what root metadata lists.
//!
//! A private key never leaves its token, and a PIN is in no error, log or command line. A PIN is tried once: tokens lock
//! themselves after few wrong ones. No signature is returned before it was verified.

#![warn(missing_docs)]

mod encoding;
mod error;
mod module;
mod object;
mod packages;
mod pin;
mod public_key;
mod signer;
mod token;
mod tries;
mod uri;

pub use error::{Cause, Pkcs11Error};
pub use pin::{Pin, PinPrompt, PinRequest};
pub use public_key::PublicKey;
pub use signer::Pkcs11Signer;
pub use tries::Tries;
pub use uri::{KeyUri, UriError};
