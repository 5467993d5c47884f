//! Where systemd is met.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use zbus::Connection;
use zbus::connection::Builder;

/// A bus that systemd is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The machine's systemd.
    System,
    /// The user's own.
    Session,
}

impl Bus {
    /// Where its systemd looks for units that last until the next boot.
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

pub type Dialing<'a> = Pin<Box<dyn Future<Output = zbus::Result<Connection>> + Send + 'a>>;

/// Connects to a bus: to one of the usual places, or to what a test made.
pub trait Dial: Send + Sync {
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
