//! Root and release keys on PKCS#11 tokens. Channel keys are files: a server reads them unattended.

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pkcs11_signer::{KeyUri, Pin, PinPrompt, PinRequest, Pkcs11Signer, PublicKey, Tries};
use release::FileName;
use update_core::roots::{NamedKey, Role};

use super::password::type_secret;
use super::role::role as parse_role;
use crate::failure::UsageError;

/// Where a key is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    Token(KeyUri),
}

/// A key to add, in a role and under a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Addition {
    pub role: Role,
    /// `None`: as the file or the object on the token.
    name: Option<FileName>,
    pub place: Place,
}

impl Place {
    /// Of the value of `flag`. Not while clap parses: its errors repeat the value, which could contain a PIN.
    pub fn parse(flag: &str, text: &Path) -> anyhow::Result<Self> {
        let uri = text.to_str().filter(|text| KeyUri::is_uri(text));
        let Some(uri) = uri else { return Ok(Self::File(text.to_owned())) };
        let uri = uri.parse().map_err(|error| UsageError(format!("{flag}: invalid PKCS#11 URI: {error}")))?;
        Ok(Self::Token(uri))
    }
}

impl Addition {
    /// Of `ROLE=FILE`, `ROLE=URI` or `ROLE/NAME=URI`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let usage = |why: String| UsageError(format!("--add: {why}"));
        let (kind, place) = text
            .split_once('=')
            .ok_or_else(|| usage("expected ROLE=FILE, such as release=second.pub".to_owned()))?;
        let (role, name) = kind.split_once('/').map_or((kind, None), |(role, name)| (role, Some(name)));
        let role = parse_role(role).map_err(usage)?;
        let name = name.map(str::parse).transpose();
        let name = name.map_err(|error: release::NameError| usage(error.to_string()))?;
        let place = Place::parse("--add", Path::new(place))?;
        match (&place, role, &name) {
            (Place::File(_), _, Some(_)) => {
                Err(usage("a file's key has the file's name: expected ROLE=FILE".to_owned()).into())
            }
            (Place::Token(_), Role::Channel, _) => {
                Err(usage("channel keys are files: a server reads them unattended".to_owned()).into())
            }
            _ => Ok(Self { role, name, place }),
        }
    }

    /// The public key on a token.
    pub fn on_token(&self, uri: &KeyUri) -> anyhow::Result<NamedKey> {
        let PublicKey { label, key } = PublicKey::read(uri, &Terminal)?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => label.parse().map_err(|_| {
                let role = self.role.name();
                let why = format!("--add: the key's label {label:?} is no name: use {role}/NAME={uri}");
                UsageError(why)
            })?,
        };
        Ok(NamedKey::of(name, key))
    }
}

/// Opens the keys that are on tokens. The others are files.
pub fn open(keys: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, Vec<Pkcs11Signer>)> {
    let places: Vec<_> = keys.iter().map(|key| Place::parse("--key", key)).collect::<Result<_, _>>()?;
    let (mut files, mut signers) = (Vec::new(), Vec::new());
    for place in places {
        match place {
            Place::File(path) => files.push(path),
            Place::Token(uri) => signers.push(signer(&uri)?),
        }
    }
    Ok((files, signers))
}

/// Logs in to the token, and finds the key.
pub fn signer(uri: &KeyUri) -> anyhow::Result<Pkcs11Signer> {
    Ok(Pkcs11Signer::open(uri, &Terminal)?)
}

/// Types PINs on the terminal.
struct Terminal;

impl PinPrompt for Terminal {
    fn pin(&self, request: &PinRequest<'_>) -> Result<Pin, Box<dyn Error + Send + Sync>> {
        if !io::stdin().is_terminal() {
            return Err("stdin is no terminal".into());
        }
        let warning = match request.tries {
            Tries::NotReduced => String::new(),
            tries => format!(" ({tries})"),
        };
        let typed = type_secret(&format!("PIN of {}{warning}: ", request.token));
        let pin = typed.context("cannot read the PIN").map_err(anyhow::Error::into_boxed_dyn_error)?;
        if pin.is_empty() { Err("the PIN is empty".into()) } else { Ok(Pin::new(pin)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_a_key_on_a_token() {
        let parse = |text: &str| Place::parse("--key", Path::new(text));
        assert_eq!(parse("root-2.key").unwrap(), Place::File("root-2.key".into()));
        assert!(matches!(parse("pkcs11:token=safe").unwrap(), Place::Token(_)));
        let error = parse("pkcs11:token=safe?pin-value=271828").unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("pin-source=file:") && !text.contains("271828"), "{text}");
        assert!(error.is::<UsageError>());
    }

    #[test]
    fn channel_keys_are_not_added_from_tokens() {
        let parse = |text: &str| Addition::parse(text).map_err(|error| error.to_string());
        assert!(parse("root=pkcs11:object=a").unwrap().name.is_none());
        assert_eq!(parse("root/alice=pkcs11:object=a").unwrap().name.unwrap().as_str(), "alice");
        assert_eq!(parse("release=b.pub").unwrap().place, Place::File("b.pub".into()));
        assert_eq!(parse("release=pkcs11:object=a").unwrap().role, Role::Release);
        for (text, expected) in [
            ("root", "--add: expected ROLE=FILE"),
            ("roots=a.pub", "--add: invalid role `roots`"),
            ("channel=pkcs11:object=a", "channel keys are files"),
            ("root/alice=b.pub", "the file's name"),
            ("root/a b=pkcs11:object=a", "a b"),
            ("root=pkcs11:label=a", "unknown attribute `label`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
