//! rustls configurations from PEM files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::no_verify::NoVerify;
use crate::limits;

/// The files of a configuration: `cert-file`, `key-file`, `trusted-ca-file`, `client-cert-auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// CA to verify the other side with.
    pub authority: Option<PathBuf>,
    /// Whether client certificates are required.
    pub client_certificates: bool,
}

/// Why TLS could not be configured. Contains file names, never contents.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {} bytes", limits::MAX_CERTIFICATE_BYTES)]
    TooLarge { path: PathBuf },
    #[error("{path} has no PEM block with {wanted}")]
    Missing { path: PathBuf, wanted: &'static str },
    #[error("{path} has a PEM block that cannot be decoded")]
    Pem { path: PathBuf },
    #[error("{path} has a certificate that cannot be used as an authority")]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("{certificate} and {key} do not make a usable pair")]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("checking client certificates")]
    Verifier(#[from] VerifierBuilderError),
    #[error("client-cert-auth requires trusted-ca-file")]
    NoAuthority,
    #[error("choosing the TLS versions")]
    Versions(#[from] rustls::Error),
}

/// How server certificates are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerVerification {
    /// With this CA.
    Authority(PathBuf),
    /// Not at all.
    Disabled,
}

impl ServerVerification {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            ServerVerification::Authority(path) => Some(path),
            ServerVerification::Disabled => None,
        }
    }
}

impl TlsFiles {
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.certificate), Some(&self.key), self.authority.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = if self.client_certificates {
            let authority = self.authority.as_deref().ok_or(TlsError::NoAuthority)?;
            let roots = Arc::new(roots(authority)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, key(&self.key)?)
            .map_err(|source| self.pair_error(source))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn pair_error(&self, source: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source }
    }
}

/// A client configuration that verifies by `verification` and presents the certificate of `own_files`.
pub(super) fn client_config(
    verification: &ServerVerification,
    own_files: Option<&TlsFiles>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match verification {
        ServerVerification::Authority(path) => builder.with_root_certificates(roots(path)?),
        ServerVerification::Disabled => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerify(provider())))
        }
    };
    match own_files {
        None => Ok(builder.with_no_client_auth()),
        Some(files) => builder
            .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
            .map_err(|source| files.pair_error(source)),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limits::MAX_CERTIFICATE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limits::MAX_CERTIFICATE_BYTES {
        return Err(TlsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Pem { path: path.to_owned() })?;
    if certificates.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), wanted: "a certificate" });
    }
    Ok(certificates)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    // The parser's error is omitted, since it could quote the file.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| TlsError::Missing { path: path.to_owned(), wanted: "a readable private key" })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(store)
}
