//! Connections to the bus.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use zbus::Connection;
use zbus::connection::Builder;

/// The bus of a systemd instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The system manager.
    System,
    /// The user's manager.
    Session,
}

impl Bus {
    /// The manager's directory of runtime units.
    pub(crate) fn links(self) -> PathBuf {
        match self {
            Self::System => "/run/systemd/system".into(),
            Self::Session => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
                PathBuf::from(runtime).join("systemd/user")
            }
        }
    }
}

/// Completes with an authenticated connection.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = zbus::Result<Connection>> + Send + 'a>>;

/// Connects to a bus. Tests have their own.
pub trait Dial: Send + Sync {
    /// Opens one connection; called again after each loss.
    fn dial(&self) -> Dialing<'_>;
}

impl Dial for Bus {
    fn dial(&self) -> Dialing<'_> {
        let builder = match self {
            Bus::System => Builder::system(),
            Bus::Session => Builder::session(),
        };
        Box::pin(builder.build())
    }
}
