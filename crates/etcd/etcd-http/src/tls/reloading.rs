//! A TLS configuration that is reloaded when its files change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::{ClientConfig, ServerConfig};

use super::files::{self, FileStamps, ServerVerification, TlsError, TlsFiles};
use crate::limits;

/// Returns the configuration for the next handshake. Changed files are reloaded; if they are invalid, such as half
/// written, the previous configuration remains until they change again.
pub struct Reloading<C> {
    /// The first one is shown in messages.
    paths: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<C, TlsError> + Send + Sync>,
    loaded: Mutex<Loaded<C>>,
}

struct Loaded<C> {
    config: Arc<C>,
    stamps: FileStamps,
    checked_at: Instant,
}

/// For listeners.
pub type ServerTls = Reloading<ServerConfig>;
/// For clients.
pub type ClientTls = Reloading<ClientConfig>;

impl ServerTls {
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let paths = files.paths().map(Into::into).collect();
        Reloading::new(paths, move || files.server_config())
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
        Reloading::new(paths, move || files::client_config(&verification, own_files.as_ref()))
    }
}

impl<C> Reloading<C> {
    fn new(
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<C, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let loaded = Mutex::new(load(&paths, &read)?);
        Ok(Self { paths, read: Box::new(read), loaded })
    }

    /// Reloads the files immediately, as for SIGHUP.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = load(&self.paths, &self.read)?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub fn config(&self) -> Arc<C> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.checked_at.elapsed() < limits::CERTIFICATE_CHECK_INTERVAL {
            return Arc::clone(&loaded.config);
        }
        loaded.checked_at = Instant::now();
        let stamps = FileStamps::of(&self.paths);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            let named = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
            match (self.read)() {
                // A new configuration has an empty session cache: old sessions would keep certificates of the
                // previous CA.
                Ok(config) => {
                    loaded.config = Arc::new(config);
                    tracing::info!(file = named, "certificates read anew");
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "changed certificates are not usable; the former ones stay"
                ),
            }
        }
        Arc::clone(&loaded.config)
    }
}

fn load<C>(paths: &[PathBuf], read: &dyn Fn() -> Result<C, TlsError>) -> Result<Loaded<C>, TlsError> {
    // Metadata is read first, so that a change in between is detected at the next check.
    let stamps = FileStamps::of(paths);
    Ok(Loaded { config: Arc::new(read()?), stamps, checked_at: Instant::now() })
}

impl<C> fmt::Debug for Reloading<C> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Followed").field("paths", &self.paths).finish_non_exhaustive()
    }
}
