//! A listener's certificates, which follow their files.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::ServerConfig;

use super::files::{FileStamps, TlsError, TlsFiles};
use crate::limits;

/// The configuration for the next handshake. Files that changed are read anew; when they do not make a valid
/// whole (half written, say), the former one stays, and they are tried again once they change again.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    stamps: FileStamps,
    looked: Instant,
}

impl ServerTls {
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        // Stamps first: a change between the two is then seen at the next look.
        let stamps = files.stamps();
        let config = Arc::new(files.server_config()?);
        Ok(ServerTls { files, loaded: Mutex::new(Loaded { config, stamps, looked: Instant::now() }) })
    }

    /// Reads the files now, as for SIGHUP.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = ServerTls::load(self.files.clone())?;
        let fresh = fresh.loaded.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() < limits::CERTIFICATE_LOOK {
            return Arc::clone(&loaded.config);
        }
        loaded.looked = Instant::now();
        let stamps = self.files.stamps();
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            match self.files.server_config() {
                // A new configuration has no sessions to resume: old ones would carry certificates that an
                // old authority signed.
                Ok(config) => {
                    loaded.config = Arc::new(config);
                    tracing::info!(certificate = %self.files.certificate.display(), "certificates read anew");
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
