//! Google's Compute Engine: one item a path, plain text (contract 5.6). It gives no ssh keys.

use std::net::IpAddr;

use super::address::{self, NoAddress, Side, put};
use super::error::{Malformed, shown};
use super::items::{first_line, first_word};
use crate::metadata::Metadata;
use crate::template::Addresses;

/// What was asked for; empty what is not there.
#[derive(Debug, Default)]
pub struct Answers {
    pub instance: Vec<u8>,
    pub hostname: Vec<u8>,
    pub internal_ip: Vec<u8>,
    pub external_ip: Vec<u8>,
}

/// # Errors
/// An address is there and is none.
pub fn metadata(answers: &Answers) -> Result<Metadata, Malformed> {
    let mut addresses = Addresses::default();
    for (item, side) in [(&answers.external_ip, Side::Public), (&answers.internal_ip, Side::Private)] {
        if let Some(address) = address_of(item)? {
            put(&mut addresses, side, address);
        }
    }
    Ok(Metadata {
        hostname: first_line(&answers.hostname).map(str::to_owned),
        instance: first_word(&answers.instance).map(str::to_owned),
        addresses,
        ..Metadata::default()
    })
}

fn address_of(item: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    let text = String::from_utf8_lossy(item);
    address::read(&text).map_err(|NoAddress| Malformed::Address(shown(text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance() {
        let answers = Answers {
            instance: b"4412879873829".to_vec(),
            hostname: b"node-1.c.my-project.internal".to_vec(),
            internal_ip: b"10.128.0.2\n".to_vec(),
            external_ip: b"35.1.2.3".to_vec(),
        };
        let metadata = metadata(&answers).unwrap();
        assert_eq!(metadata.hostname.as_deref(), Some("node-1.c.my-project.internal"));
        assert_eq!(metadata.instance.as_deref(), Some("4412879873829"));
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.128.0.2"));
        assert_eq!(metadata.addresses.public_ipv4.as_deref(), Some("35.1.2.3"));
        assert!(metadata.keys.is_empty());
        assert_eq!(super::metadata(&Answers::default()).unwrap(), Metadata::default());
    }

    #[test]
    fn a_bad_address_is_fatal() {
        for (item, expect) in [
            ("10.0.0.1/24", "couldn't parse \"10.0.0.1/24\" as IP address"),
            ("\"x\"", "couldn't parse \"\\\"x\\\"\" as IP address"),
        ] {
            let answers = Answers { external_ip: item.into(), ..Answers::default() };
            assert_eq!(metadata(&answers).unwrap_err().to_string(), expect);
        }
        let answers = Answers { external_ip: b"fd00::1".to_vec(), ..Answers::default() };
        let addresses = metadata(&answers).unwrap().addresses;
        assert_eq!((addresses.public_ipv4, addresses.public_ipv6.as_deref()), (None, Some("fd00::1")));
    }
}
