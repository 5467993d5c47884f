//! `--discovery-srv`: endpoints from the SRV records of a domain.

use std::error::Error as _;

use etcd_client::Endpoint;
use srv_lookup::{LookupError, Resolver, Service};

use crate::failure::Failure;

/// Endpoints of `_etcd-client-ssl` before those of `_etcd-client`. One of the two lookups must succeed.
pub async fn endpoints(domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let resolver = Resolver::from_system().map_err(|error| Failure::usage(with_cause(&error)))?;
    let secured = resolver.services("etcd-client-ssl", domain).await;
    let plain = resolver.services("etcd-client", domain).await;
    if let (Err(secured), Err(plain)) = (&secured, &plain) {
        let text = format!("dns lookup errors: {} and {}", with_cause(secured), with_cause(plain));
        return Err(Failure::usage(text));
    }
    let secured = secured.unwrap_or_default();
    let plain = plain.unwrap_or_default();
    let all =
        secured.iter().map(|service| ("https", service)).chain(plain.iter().map(|service| ("http", service)));
    all.map(|(scheme, service)| endpoint(scheme, service)).collect()
}

fn endpoint(scheme: &str, service: &Service) -> Result<Endpoint, Failure> {
    let text = format!("{scheme}://{}:{}", service.host, service.port);
    text.parse().map_err(|error: etcd_client::EndpointError| Failure::usage(error.to_string()))
}

/// The error with its cause.
fn with_cause(error: &LookupError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
