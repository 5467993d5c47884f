//! A TLS configuration that follows its files.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::{ClientConfig, ServerConfig};

use super::files::{self, FileStamps, TlsError, TlsFiles, Trusted};
use crate::limits;

/// The configuration for the next handshake. Files that changed are read anew; when they do not make a valid
/// whole (half written, say), the former one stays, and they are tried again once they change again.
pub struct Followed<C> {
    /// The first stands for all in messages.
    paths: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<C, TlsError> + Send + Sync>,
    loaded: Mutex<Loaded<C>>,
}

struct Loaded<C> {
    config: Arc<C>,
    stamps: FileStamps,
    looked: Instant,
}

/// For listeners.
pub type ServerTls = Followed<ServerConfig>;
/// For connections that we open.
pub type ClientTls = Followed<ClientConfig>;

impl ServerTls {
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let paths = files.paths().map(Into::into).collect();
        Followed::new(paths, move || files.server_config())
    }
}

impl ClientTls {
    /// Trusts whom it is told to, and shows the pair of `own` where there is one.
    pub fn towards(whom: Trusted, own: Option<TlsFiles>) -> Result<ClientTls, TlsError> {
        let mut paths: Vec<PathBuf> = whom.path().map(Into::into).into_iter().collect();
        paths.extend(own.iter().flat_map(|own| [own.certificate.clone(), own.key.clone()]));
        Followed::new(paths, move || files::client_config(&whom, own.as_ref()))
    }
}

impl<C> Followed<C> {
    fn new(
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<C, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let loaded = Mutex::new(load(&paths, &read)?);
        Ok(Self { paths, read: Box::new(read), loaded })
    }

    /// Reads the files now, as for SIGHUP.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = load(&self.paths, &self.read)?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub fn config(&self) -> Arc<C> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() < limits::CERTIFICATE_LOOK {
            return Arc::clone(&loaded.config);
        }
        loaded.looked = Instant::now();
        let stamps = FileStamps::of(&self.paths);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            let named = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
            match (self.read)() {
                // A new configuration has no sessions to resume: old ones would carry certificates that an
                // old authority signed.
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
    // Stamps first: a change between the two is then seen at the next look.
    let stamps = FileStamps::of(paths);
    Ok(Loaded { config: Arc::new(read()?), stamps, looked: Instant::now() })
}

impl<C> fmt::Debug for Followed<C> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Followed").field("paths", &self.paths).finish_non_exhaustive()
    }
}
