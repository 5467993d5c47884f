//! Google Compute Engine: one plain-text item per path (contract 5.6). SSH keys are not supported.

use std::net::IpAddr;

use super::address::{self, InvalidAddress, Scope, set_address};
use super::error::{Malformed, truncate_for_message};
use super::items::{first_line, first_word};
use crate::metadata::Metadata;
use crate::template::Addresses;

/// Responses of the service; empty if an item does not exist.
#[derive(Debug, Default)]
pub struct Responses {
    pub instance: Vec<u8>,
    pub hostname: Vec<u8>,
    pub internal_ip: Vec<u8>,
    pub external_ip: Vec<u8>,
}

/// Converts the responses to metadata.
///
/// # Errors
/// An address is not empty and not valid.
pub fn metadata(responses: &Responses) -> Result<Metadata, Malformed> {
    let mut addresses = Addresses::default();
    for (item, scope) in [(&responses.external_ip, Scope::Public), (&responses.internal_ip, Scope::Private)] {
        if let Some(address) = address_of(item)? {
            set_address(&mut addresses, scope, address);
        }
    }
    Ok(Metadata {
        hostname: first_line(&responses.hostname).map(str::to_owned),
        instance: first_word(&responses.instance).map(str::to_owned),
        addresses,
        ..Metadata::default()
    })
}

fn address_of(item: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    let text = String::from_utf8_lossy(item);
    address::read(&text).map_err(|InvalidAddress| Malformed::Address(truncate_for_message(text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance() {
        let responses = Responses {
            instance: b"4412879873829".to_vec(),
            hostname: b"node-1.c.my-project.internal".to_vec(),
            internal_ip: b"10.128.0.2\n".to_vec(),
            external_ip: b"35.1.2.3".to_vec(),
        };
        let metadata = metadata(&responses).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("node-1.c.my-project.internal"));
        assert_eq!(metadata.instance.as_deref(), Some("4412879873829"));
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.128.0.2"));
        assert_eq!(metadata.addresses.public_ipv4.as_deref(), Some("35.1.2.3"));
        assert!(metadata.keys.is_empty());
        assert_eq!(super::metadata(&Responses::default()).unwrap(), Metadata::default());
    }

    #[test]
    fn a_bad_address_is_fatal() {
        for (item, expect) in [
            ("10.0.0.1/24", "couldn't parse \"10.0.0.1/24\" as IP address"),
            ("\"x\"", "couldn't parse \"\\\"x\\\"\" as IP address"),
        ] {
            let responses = Responses { external_ip: item.into(), ..Responses::default() };
            assert_eq!(metadata(&responses).unwrap_err().to_string(), expect);
        }
        let responses = Responses { external_ip: b"fd00::1".to_vec(), ..Responses::default() };
        let addresses = metadata(&responses).unwrap().addresses;
        assert_eq!((addresses.public_ipv4, addresses.public_ipv6.as_deref()), (None, Some("fd00::1")));
    }
}
