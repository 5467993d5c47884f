//! SRV records: where the services of a domain are, asked of the resolvers that `/etc/resolv.conf` names.
//!
//! It keeps the order in which the records are to be tried, and leaves out what can be no host. It must never
//! decide what a missing record means: that no service is there is an answer like any other, as an error.

mod query;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use query::{Record, ask};
use settings::Settings;

pub use query::QueryError;

#[cfg(test)]
mod tests;

/// One place that a service is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host's name, without a dot at its end.
    pub host: String,
    pub port: u16,
}

/// In the words of Go's resolver, which is what people know from etcd.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("the machine's resolvers (/etc/resolv.conf)")]
    Settings(#[source] io::Error),
    #[error("lookup {0}: no such host")]
    NoSuchHost(Asked),
    #[error("lookup {0}: i/o timeout")]
    TimedOut(Asked),
    #[error("lookup {0}")]
    Failed(Asked, #[source] QueryError),
}

/// A name, and who was asked where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub name: String,
    /// The only resolver that there is; of several it is not known which one answered.
    pub server: Option<SocketAddr>,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.server {
            Some(server) => write!(to, "{} on {server}", self.name),
            None => to.write_str(&self.name),
        }
    }
}

/// Who is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    settings: Arc<Settings>,
}

/// Where the machine's settings are.
const SETTINGS: &str = "/etc/resolv.conf";

impl Resolver {
    /// As this machine is set up now.
    pub fn of_this_machine() -> Result<Self, LookupError> {
        Settings::read(Path::new(SETTINGS)).map(Self::with).map_err(LookupError::Settings)
    }

    fn with(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// `_SERVICE._tcp.DOMAIN`: its places, the first to be tried first. By priority, then by weight; without the
    /// dice that RFC 2782 throws among weights, so that all who ask see one order. Needs a tokio runtime.
    pub async fn services(&self, service: &str, domain: &str) -> Result<Vec<Service>, LookupError> {
        let name = format!("_{service}._tcp.{domain}");
        let mut records = Vec::new();
        for name in self.settings.names(&name) {
            records = self.records(&name).await?;
            if !records.is_empty() {
                break;
            }
        }
        records.sort_by_cached_key(order);
        let services: Vec<_> = records.iter().filter_map(place).collect();
        if services.is_empty() { Err(LookupError::NoSuchHost(self.asked(&name))) } else { Ok(services) }
    }

    /// What the first server says that answers.
    async fn records(&self, name: &str) -> Result<Vec<Record>, LookupError> {
        let Settings { servers, timeout, attempts, .. } = &*self.settings;
        let mut error = LookupError::TimedOut(self.asked(name));
        for _ in 0..*attempts {
            for server in servers {
                match tokio::time::timeout(*timeout, ask(*server, name)).await {
                    Ok(Ok(records)) => return Ok(records),
                    Ok(Err(failed)) => error = LookupError::Failed(self.asked(name), failed),
                    Err(_) => error = LookupError::TimedOut(self.asked(name)),
                }
            }
        }
        Err(error)
    }

    fn asked(&self, name: &str) -> Asked {
        let server = match &*self.settings.servers {
            [only] => Some(*only),
            _ => None,
        };
        Asked { name: name.to_owned(), server }
    }
}

/// Records alike in priority and weight are ordered as RFC 4034 (6.1) orders names.
fn order(record: &Record) -> (u16, u16, Vec<Vec<u8>>, u16) {
    let target = record.target.iter().rev().map(|label| label.to_ascii_lowercase()).collect();
    (record.priority, u16::MAX - record.weight, target, record.port)
}

/// None for the target `.`, which says that there is no such service, and for names that no host has: they go
/// into URLs and lists.
fn place(record: &Record) -> Option<Service> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let labels = &record.target;
    let is_host = !labels.is_empty() && labels.iter().flatten().all(plain);
    let host = || String::from_utf8_lossy(&labels.join(&b'.')).into_owned();
    is_host.then(|| Service { host: host(), port: record.port })
}
