//! SRV records: where the services of a domain are, asked of the resolvers that `/etc/resolv.conf` names.
//!
//! It keeps the order in which the records are to be tried, and leaves out what can be no host. It must never
//! decide what a missing record means: that no service is there is an answer like any other, as an error.

use std::net::SocketAddr;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::{TokioResolver, system_conf};

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
    Settings(#[source] Box<NetError>),
    #[error("lookup {0}: no such host")]
    NoSuchHost(Asked),
    #[error("lookup {0}: i/o timeout")]
    TimedOut(Asked),
    #[error("lookup {0}")]
    Failed(Asked, #[source] Box<NetError>),
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
    inner: TokioResolver,
    only: Option<SocketAddr>,
}

impl Resolver {
    /// As this machine is set up now. Needs a tokio runtime.
    pub fn of_this_machine() -> Result<Self, LookupError> {
        let (config, options) = system_conf::read_system_conf().map_err(settings)?;
        Self::with(config, options)
    }

    fn with(config: ResolverConfig, options: ResolverOpts) -> Result<Self, LookupError> {
        let only = match config.name_servers() {
            [server] => server.connections.first().map(|way| SocketAddr::new(server.ip, way.port)),
            _ => None,
        };
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let inner = builder.with_options(options).build().map_err(settings)?;
        Ok(Self { inner, only })
    }

    /// `_SERVICE._tcp.DOMAIN`: its places, the first to be tried first. By priority, then by weight; without the
    /// dice that RFC 2782 throws among weights, so that all who ask see one order.
    pub async fn services(&self, service: &str, domain: &str) -> Result<Vec<Service>, LookupError> {
        let name = format!("_{service}._tcp.{domain}");
        let found = self.inner.srv_lookup(name.as_str()).await;
        let asked = Asked { name, server: self.only };
        let found = match found {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Err(LookupError::NoSuchHost(asked)),
            Err(NetError::Timeout) => return Err(LookupError::TimedOut(asked)),
            Err(error) => return Err(LookupError::Failed(asked, Box::new(error))),
        };
        let mut records: Vec<&SRV> =
            found.answers().iter().filter_map(|record| service_of(&record.data)).collect();
        records
            .sort_by_key(|record| (record.priority, u16::MAX - record.weight, &record.target, record.port));
        let services: Vec<_> = records.into_iter().filter_map(place).collect();
        if services.is_empty() { Err(LookupError::NoSuchHost(asked)) } else { Ok(services) }
    }
}

fn settings(error: NetError) -> LookupError {
    LookupError::Settings(Box::new(error))
}

fn service_of(data: &RData) -> Option<&SRV> {
    match data {
        RData::SRV(record) => Some(record),
        // An alias on the way.
        _ => None,
    }
}

/// None for the target `.`, which says that there is no such service, and for names that no host has: they go
/// into URLs and lists.
fn place(record: &SRV) -> Option<Service> {
    let host = record.target.to_ascii();
    let host = host.trim_end_matches('.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_host = !host.is_empty() && host.bytes().all(plain);
    is_host.then(|| Service { host: host.to_owned(), port: record.port })
}
