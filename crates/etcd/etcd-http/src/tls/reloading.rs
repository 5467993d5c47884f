//! TLS configurations that are reloaded when their files change.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};
use service::reload::Reloading;

use super::files::{self, ServerVerification, TlsError, TlsFiles};

// A new configuration has an empty session cache: old sessions would keep certificates of the previous CA.

/// For listeners.
#[derive(Debug)]
pub struct ServerTls(Reloading<ServerConfig, TlsError>);
/// For clients.
#[derive(Debug)]
pub struct ClientTls(Reloading<ClientConfig, TlsError>);

impl ServerTls {
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let paths = files.paths().map(Into::into).collect();
        Reloading::new(paths, move || files.server_config()).map(ServerTls)
    }

    /// Reloads the files immediately, as for SIGHUP.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.reload()
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.0.current()
    }
}

impl ClientTls {
    /// Verifies servers by `verification` and presents the certificate of `own_files`.
    pub fn verifying(
        verification: ServerVerification,
        own_files: Option<TlsFiles>,
    ) -> Result<ClientTls, TlsError> {
        let mut paths: Vec<PathBuf> = verification.path().map(Into::into).into_iter().collect();
        paths.extend(
            own_files.iter().flat_map(|own_files| [own_files.certificate.clone(), own_files.key.clone()]),
        );
        Reloading::new(paths, move || files::client_config(&verification, own_files.as_ref())).map(ClientTls)
    }

    /// Reloads the files immediately, as for SIGHUP.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.0.reload()
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.current()
    }
}
