//! SRV records of the members, with their hosts' addresses.

use etcd_config::bootstrap::{Event, SrvRecord};
use srv_lookup::Resolver;

use service::error::chain;

/// Both SRV lookups of a domain.
pub async fn look_up(domain: &str) -> Event {
    match Resolver::from_system() {
        Ok(resolver) => Event::Srv {
            tls: records(&resolver, "etcd-server-ssl", domain).await,
            plain: records(&resolver, "etcd-server", domain).await,
        },
        Err(error) => {
            let none = || Err(chain(&error));
            Event::Srv { tls: none(), plain: none() }
        }
    }
}

async fn records(resolver: &Resolver, service: &str, domain: &str) -> Result<Vec<SrvRecord>, String> {
    let services = resolver.services(service, domain).await.map_err(|error| chain(&error))?;
    let mut records = Vec::with_capacity(services.len());
    for record in services {
        // By the system's resolver, so that /etc/hosts applies.
        let addresses = match tokio::net::lookup_host((record.host.as_str(), record.port)).await {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        };
        records.push(SrvRecord { target: record.host, port: record.port, addresses });
    }
    Ok(records)
}
