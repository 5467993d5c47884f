//! TLS client configuration from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use service::reload::Reloading;

use crate::error::error_text;

/// Without a CA file, the system's CA bundle is used.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// PEM bundle to verify servers with.
    pub ca: Option<PathBuf>,
    /// PEM chain of the client certificate; needs `key`.
    pub certificate: Option<PathBuf>,
    /// PEM key of the client certificate; needs `certificate`.
    pub key: Option<PathBuf>,
}

/// CA bundle of Debian and CoreOS.
const SYSTEM_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why no TLS configuration could be made from the files.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TlsError {
    #[error("open {}: {}", path.display(), error_text(source))]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: no certificate in it, expected PEM", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{}: not a certificate or key in PEM: {problem}", path.display())]
    Pem { path: PathBuf, problem: String },
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {certificate}]")]
    Half { key: String, certificate: String },
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// The configuration for the next connection: certificates that a running program uses may be rotated.
pub type ReloadingTls = Reloading<ClientConfig, TlsError>;

impl TlsFiles {
    /// Reads the files, and again when they change. If TLS is not `needed`, the system's CA bundle may be missing.
    pub fn follow(&self, needed: bool) -> Result<ReloadingTls, TlsError> {
        let named = [&self.ca, &self.certificate, &self.key].into_iter().flatten();
        let mut paths: Vec<PathBuf> = named.cloned().collect();
        if self.ca.is_none() && needed {
            paths.push(SYSTEM_CA_BUNDLE.into());
        }
        let files = self.clone();
        Reloading::new(paths, move || files.read(needed))
    }

    /// Reads the files. If TLS is not `needed`, the system's CA bundle may be missing.
    pub fn load(&self, needed: bool) -> Result<Arc<ClientConfig>, TlsError> {
        self.read(needed).map(Arc::new)
    }

    fn read(&self, needed: bool) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for one in certificates(path)? {
                    roots.add(one)?;
                }
            }
            None if needed => {
                // Certificates that rustls does not support are skipped.
                roots.add_parsable_certificates(certificates(Path::new(SYSTEM_CA_BUNDLE))?);
            }
            None => {}
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?)?
            }
            (certificate, key) => {
                let display_path = |path: &Option<PathBuf>| {
                    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
                };
                return Err(TlsError::Half {
                    key: display_path(key),
                    certificate: display_path(certificate),
                });
            }
        };
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let list = list.map_err(|error| TlsError::Pem { path: path.to_owned(), problem: error.to_string() })?;
    if list.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(list)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| TlsError::Pem { path: path.to_owned(), problem: error.to_string() })
}
