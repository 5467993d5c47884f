//! SRV lookups by the resolvers in `/etc/resolv.conf`.
//!
//! Keeps the order in which records are to be tried, and omits invalid host names. A missing record is an error,
//! whose meaning is up to the caller.

#![warn(missing_docs)]

mod query;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use query::{Record, query};
use settings::Settings;

pub use query::QueryError;

#[cfg(test)]
mod tests;

/// The location of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Host name without a trailing dot.
    pub host: String,
    /// As in the record.
    pub port: u16,
}

/// Errors of lookups, in the format of Go's resolver, as known from etcd.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum LookupError {
    #[error("the machine's resolvers (/etc/resolv.conf)")]
    Settings(#[source] io::Error),
    #[error("lookup {0}: no such host")]
    NoSuchHost(QueriedName),
    #[error("lookup {0}: i/o timeout")]
    TimedOut(QueriedName),
    #[error("lookup {0}")]
    Failed(QueriedName, #[source] QueryError),
}

/// A name, with the server if known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueriedName {
    /// Fully qualified, as queried.
    pub name: String,
    /// The server, if it is the only one; with several it is unknown which one responded.
    pub server: Option<SocketAddr>,
}

impl std::fmt::Display for QueriedName {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.server {
            Some(server) => write!(to, "{} on {server}", self.name),
            None => to.write_str(&self.name),
        }
    }
}

/// A DNS resolver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    settings: Arc<Settings>,
}

/// The system's resolver configuration.
const SETTINGS: &str = "/etc/resolv.conf";

impl Resolver {
    /// Reads the system's current configuration.
    pub fn from_system() -> Result<Self, LookupError> {
        Settings::read(Path::new(SETTINGS)).map(Self::with).map_err(LookupError::Settings)
    }

    fn with(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// Looks up `_SERVICE._tcp.DOMAIN`, ordered by priority, then weight. Without RFC 2782's random choice among
    /// weights, so that the order is the same for everybody. Requires a tokio runtime.
    pub async fn services(&self, service: &str, domain: &str) -> Result<Vec<Service>, LookupError> {
        let name = format!("_{service}._tcp.{domain}");
        let mut records = Vec::new();
        for name in self.settings.names(&name) {
            records = self.records(&name).await?;
            if !records.is_empty() {
                break;
            }
        }
        records.sort_by_cached_key(sort_key);
        let services: Vec<_> = records.iter().filter_map(valid_service).collect();
        if services.is_empty() {
            Err(LookupError::NoSuchHost(self.queried_name(&name)))
        } else {
            Ok(services)
        }
    }

    /// The response of the first server that responds.
    async fn records(&self, name: &str) -> Result<Vec<Record>, LookupError> {
        let Settings { servers, timeout, attempts, .. } = &*self.settings;
        let mut error = LookupError::TimedOut(self.queried_name(name));
        for _ in 0..*attempts {
            for server in servers {
                match tokio::time::timeout(*timeout, query(*server, name)).await {
                    Ok(Ok(records)) => return Ok(records),
                    Ok(Err(failed)) => error = LookupError::Failed(self.queried_name(name), failed),
                    Err(_) => error = LookupError::TimedOut(self.queried_name(name)),
                }
            }
        }
        Err(error)
    }

    fn queried_name(&self, name: &str) -> QueriedName {
        let server = match &*self.settings.servers {
            [only] => Some(*only),
            _ => None,
        };
        QueriedName { name: name.to_owned(), server }
    }
}

/// Records with equal priority and weight are ordered as in RFC 4034 (6.1).
fn sort_key(record: &Record) -> (u16, u16, Vec<Vec<u8>>, u16) {
    let target = record.target.iter().rev().map(|label| label.to_ascii_lowercase()).collect();
    (record.priority, u16::MAX - record.weight, target, record.port)
}

/// `None` for the target `.`, which means no such service, and for invalid host names: they become parts of URLs and
/// lists.
fn valid_service(record: &Record) -> Option<Service> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let labels = &record.target;
    let is_host = !labels.is_empty() && labels.iter().flatten().all(plain);
    let host = || String::from_utf8_lossy(&labels.join(&b'.')).into_owned();
    is_host.then(|| Service { host: host(), port: record.port })
}
