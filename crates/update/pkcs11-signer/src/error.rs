//! Why a key on a token cannot be used.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use cryptoki::error::Error as TokenError;

use crate::packages::{PACKAGES, package};
use crate::tries::Tries;
use crate::uri::KeyUri;

/// What fails without the service of a reader.
pub(crate) const LIST_TOKENS: &str = "list its tokens";
const CONNECT: &str = "connect the token, and check that the service of its reader (pcscd) runs";

/// A failure, with the key that it concerns.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the key {uri}")]
pub struct Pkcs11Error {
    uri: String,
    #[source]
    cause: Cause,
}

/// What prevents the use of a key. `token` describes one: its label, serial number and slot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Cause {
    #[error("the URI names no PKCS#11 module")]
    NoModule,
    #[error("the module {} does not exist", .0.display())]
    ModuleMissing(PathBuf),
    #[error("there is no module lib{name}.so or {name}.so in {}", folders.join(", "))]
    ModuleUnknown { name: String, folders: Vec<&'static str> },
    #[error("{} is no PKCS#11 module", module.display())]
    Load { module: PathBuf, source: TokenError },
    #[error("the module {} cannot be initialized", module.display())]
    Initialize { module: PathBuf, source: TokenError },
    #[error("{} has no such token; {}", module.display(), listed("its tokens", present))]
    TokenMissing { module: PathBuf, present: Vec<String> },
    #[error("{} has several such tokens: {}", module.display(), found.join(", "))]
    SeveralTokens { module: PathBuf, found: Vec<String> },
    #[error("{token} has no such private key; {}", listed("its private keys", present))]
    KeyMissing { token: String, present: Vec<String> },
    #[error("{token} has several such keys: {}", found.join(", "))]
    SeveralKeys { token: String, found: Vec<String> },
    #[error("{token} has no public key for {key}")]
    NoPublicKey { token: String, key: String },
    #[error(
        "{token}: {key} is {what}; supported are EC keys on P-256, Ed25519, and RSA of at least 2048 bits"
    )]
    Unsupported { token: String, key: String, what: String },
    #[error("{token} lacks the mechanism {mechanism}, which {key} needs")]
    Mechanism { token: String, key: String, mechanism: &'static str },
    #[error("{token} needs a PIN")]
    PinNeeded { token: String, source: Box<dyn StdError + Send + Sync> },
    #[error("cannot read the PIN from {}", file.display())]
    PinSource { file: PathBuf, source: io::Error },
    #[error("wrong PIN for {token}; {tries}")]
    WrongPin { token: String, tries: Tries },
    #[error("{token} is locked: too many wrong PINs")]
    Locked { token: String },
    #[error("the next wrong PIN locks {token}: the PIN in {} is not tried", file.display())]
    LastTry { token: String, file: PathBuf },
    #[error("{token} has no user PIN yet")]
    NoPinSet { token: String },
    #[error("{token} signed with another key than the public key of {key}")]
    OtherKey { token: String, key: String },
    #[error("{token} cannot {action}")]
    Token { token: String, action: &'static str, source: TokenError },
}

fn listed(what: &str, present: &[String]) -> String {
    if present.is_empty() { format!("{what}: none") } else { format!("{what}: {}", present.join(", ")) }
}

impl Pkcs11Error {
    pub(crate) fn new(uri: &KeyUri, cause: Cause) -> Self {
        Self { uri: uri.to_string(), cause }
    }

    /// What failed.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The next step, if one is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.cause {
            Cause::NoModule => format!("add ?module-path=PATH to the URI; {}", packages()),
            Cause::ModuleMissing(path) => match package(path) {
                Some(package) => format!("it is in Debian's package {package}: apt-get install {package}"),
                None => format!("install the PKCS#11 module of the token; {}", packages()),
            },
            Cause::ModuleUnknown { name, .. } => match package(Path::new(&format!("lib{name}.so"))) {
                Some(package) => format!("it is in Debian's package {package}: apt-get install {package}"),
                None => format!("use module-path=PATH; {}", packages()),
            },
            Cause::TokenMissing { present, .. } if present.is_empty() => CONNECT.to_owned(),
            Cause::Token { action: LIST_TOKENS, .. } => CONNECT.to_owned(),
            Cause::SeveralTokens { .. } => "add serial=SERIAL to the URI".to_owned(),
            Cause::SeveralKeys { .. } => "add id=%XX (percent-encoded bytes) to the URI".to_owned(),
            Cause::NoPublicKey { .. } => {
                "store the public key on the token, with the id of the private key".to_owned()
            }
            Cause::Mechanism { .. } => {
                "use a key of another type, or one that does not require the PIN for each signature".to_owned()
            }
            Cause::PinNeeded { .. } => {
                "run it on a terminal, or add pin-source=file:/PATH to the query of the URI".to_owned()
            }
            Cause::WrongPin { .. } | Cause::LastTry { .. } => {
                "enter the PIN on a terminal; tokens lock themselves after few wrong PINs, and each attempt counts"
                    .to_owned()
            }
            Cause::Locked { .. } => "unlock it with its PUK or SO PIN, by the vendor's tool".to_owned(),
            Cause::NoPinSet { .. } => "set one: pkcs11-tool --login --login-type so --init-pin".to_owned(),
            _ => return None,
        })
    }
}

fn packages() -> String {
    let known: Vec<_> = PACKAGES.iter().map(|(file, package)| format!("{file} ({package})")).collect();
    format!("modules and their Debian packages: {}", known.join(", "))
}
