//! Tokens, in files: one for each role of the API, and the one that machines prove.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use omaha::registration;
use sha2::{Digest as _, Sha256};

/// Full access.
pub const ADMIN: &str = "admin.token";
/// Read-only access.
pub const VIEWER: &str = "viewer.token";
/// Proved by the requests of the operator's machines.
pub const REGISTRATION: &str = "registration.token";
const BYTES: usize = 24;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot access the token {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("the token {0} has fewer than 16 characters")]
    Short(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Admin,
}

pub struct Tokens {
    /// Hashes of the tokens: comparing hashes leaks no timing information about a token.
    admin: [u8; 32],
    viewer: [u8; 32],
    registration: String,
}

impl Tokens {
    /// Reads the tokens from `folder`, or generates them.
    ///
    /// # Errors
    /// A file cannot be read or written, or its token is too short.
    pub fn open(folder: &Path) -> Result<Self, TokenError> {
        Ok(Self {
            admin: hash(&token(&folder.join(ADMIN))?),
            viewer: hash(&token(&folder.join(VIEWER))?),
            registration: token(&folder.join(REGISTRATION))?,
        })
    }

    /// Whether a machine that has the registration token sent this code with this body.
    pub fn is_registered(&self, code: omaha::Sha256, body: &[u8]) -> bool {
        registration::is_valid(&self.registration, body, code)
    }

    /// The role of the request's token.
    pub fn role(&self, headers: &HeaderMap) -> Option<Role> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let hashed = scheme.eq_ignore_ascii_case("bearer").then(|| hash(token.trim()))?;
        if hashed == self.admin { Some(Role::Admin) } else { (hashed == self.viewer).then_some(Role::Viewer) }
    }
}

/// The code by which an Omaha request proves the registration token.
pub fn registration_code(headers: &HeaderMap) -> Option<omaha::Sha256> {
    headers.get(registration::HEADER)?.to_str().ok()?.parse().ok()
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn token(path: &Path) -> Result<String, TokenError> {
    let failed = |error| TokenError::Io(path.to_owned(), error);
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= registration::MIN_TOKEN => Ok(text.trim().to_owned()),
        Ok(_) => Err(TokenError::Short(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; BYTES];
            getrandom::fill(&mut bytes).map_err(|error| failed(io::Error::other(error)))?;
            let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            service::file::replace(path, format!("{token}\n").as_bytes(), 0o600).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}
