//! Images from registries: OCI's distribution specification, version 2 of Docker's API.

mod auth;
mod client;
mod pace;
mod pull;
mod transfer;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use oci_image::Digest;
use oci_image::credentials::Credentials;

use crate::store_error::StoreError;

pub use self::pull::{PullError, PullOptions, Pulled};

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Logins.
    pub credentials: Credentials,
    /// Files with certificate authorities that are trusted besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Permits plain HTTP where HTTPS fails, also for passwords, and in redirects: `--insecure-options=http`.
    pub http: bool,
    /// Accepts any certificate: `--insecure-options=tls`.
    pub unverified_tls: bool,
    /// Limit of the bytes of all layers, compressed.
    pub bytes: u64,
    /// Limit of establishing a connection.
    pub connect_timeout: Duration,
    /// Within this time, at least [`Self::min_bytes`] must arrive.
    pub progress_window: Duration,
    /// See [`Self::progress_window`].
    pub min_bytes: u64,
    /// Consecutive attempts with fewer bytes than that, after which a transfer fails.
    pub attempts: u32,
    /// Before the first repetition; doubled with each.
    pub pause: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            ca_files: Vec::new(),
            http: false,
            unverified_tls: false,
            bytes: 64 << 30,
            connect_timeout: Duration::from_secs(20),
            progress_window: Duration::from_secs(60),
            min_bytes: 64 << 10,
            attempts: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// Progress of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The blob.
    pub digest: Digest,
    /// Its bytes that are present.
    pub present: u64,
    /// Its length.
    pub size: u64,
}

/// Why a request or transfer failed. URLs are without secrets.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RegistryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read certificates from {path}")]
    Certificates { path: PathBuf, source: std::io::Error },
    #[error("{0} has no certificates in PEM")]
    NoCertificates(PathBuf),
    #[error("{url}: {reason}")]
    Transport { url: String, reason: String },
    #[error("{url}: HTTP status {status}{detail}")]
    Status { url: String, status: u16, detail: String },
    #[error("{0} is no registry: it does not serve /v2/")]
    NoRegistry(String),
    #[error("{url}: redirected more than {limit} times")]
    Redirects { url: String, limit: u32 },
    #[error("{url}: redirected to {target}: {reason}")]
    Redirect { url: String, target: String, reason: &'static str },
    #[error("{url}: the registry refuses the request; check the image's name, or log in (docker login)")]
    Unauthorized { url: String },
    #[error("{url}: the registry requires an unsupported kind of authentication")]
    Challenge { url: String },
    #[error("the token server {realm} of {registry} {reason}")]
    Realm { registry: String, realm: String, reason: &'static str },
    #[error("{0}: the response is no token")]
    Token(String),
    #[error("{url}: the response has more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
    #[error("{url}: the response has {found} bytes, expected {expected}")]
    Length { url: String, found: u64, expected: u64 },
    #[error("{url}: the content has digest {found}, expected {expected}")]
    Digest { url: String, found: Digest, expected: Digest },
    #[error("{url}: the server sent another range than requested")]
    Range { url: String },
    #[error(
        "{url}: fewer than {bytes} bytes in {seconds} s; the transfer resumes from {present} bytes next time"
    )]
    Stalled { url: String, bytes: u64, seconds: u64, present: u64 },
}

impl RegistryError {
    /// Whether another attempt may succeed.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => false,
        }
    }
}
