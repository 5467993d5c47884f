//! SRV records of the members, and the addresses that their hosts have here.

use etcd_config::bootstrap::{Event, SrvRecord};
use srv_lookup::Resolver;

use service::error::chain;

/// Both of a domain's lists of members.
pub async fn look_up(domain: &str) -> Event {
    match Resolver::of_this_machine() {
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
    for one in services {
        // As everything else here resolves names: /etc/hosts counts too.
        let addresses = match tokio::net::lookup_host((one.host.as_str(), one.port)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        };
        records.push(SrvRecord { target: one.host, port: one.port, addresses });
    }
    Ok(records)
}
