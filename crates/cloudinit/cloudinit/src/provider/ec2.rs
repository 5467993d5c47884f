//! Amazon EC2 and compatible services: one plain-text item per path (contract 5.5).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::error::{Malformed, truncate_for_message};
use super::items::{address, first_line, first_word};
use crate::limits::{MAX_METADATA_INTERFACES, MAX_METADATA_KEYS};
use crate::metadata::Metadata;
use crate::template::Addresses;

/// An entry of the key list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// The index that is part of the key's path.
    pub id: String,
    pub name: String,
}

/// Responses of the service; empty if an item does not exist.
#[derive(Debug, Default)]
pub struct Responses {
    pub instance: Vec<u8>,
    pub hostname: Vec<u8>,
    pub local_ipv4: Vec<u8>,
    pub public_ipv4: Vec<u8>,
    pub ipv6: Vec<u8>,
    /// Name and content.
    pub keys: Vec<(String, Vec<u8>)>,
}

/// Parses the key list, with lines `0=name`.
///
/// # Errors
/// A line has another format.
pub fn key_names(list: &[u8]) -> Result<Vec<KeyName>, Malformed> {
    let text = String::from_utf8_lossy(list);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .take(MAX_METADATA_KEYS)
        .map(|line| {
            let malformed = || Malformed::PublicKey(truncate_for_message(line));
            let (id, name) = line.split_once('=').ok_or_else(malformed)?;
            if !is_path_segment(id) {
                return Err(malformed());
            }
            Ok(KeyName { id: id.to_owned(), name: name.to_owned() })
        })
        .collect()
}

/// Returns the MAC addresses in the interface list, whose lines end with `/`.
pub fn interfaces(list: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(list);
    let names = text.lines().map(|line| line.trim().trim_end_matches('/'));
    names.filter(|name| is_path_segment(name)).take(MAX_METADATA_INTERFACES).map(str::to_owned).collect()
}

/// The text becomes part of a URL.
fn is_path_segment(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_'))
}

/// Only the first line of each item is used.
pub fn metadata(responses: &Responses) -> Metadata {
    let mut notes = Vec::new();
    let mut keys = Vec::new();
    for (name, key) in &responses.keys {
        match first_line(key) {
            Some(key) => keys.push((name.clone(), key.to_owned())),
            None => notes.push(format!("ignoring key {:?}, which is empty", truncate_for_message(name))),
        }
    }
    let addresses = Addresses {
        private_ipv4: address::<Ipv4Addr>(&responses.local_ipv4, ("local-ipv4", "IPv4 address"), &mut notes),
        public_ipv4: address::<Ipv4Addr>(&responses.public_ipv4, ("public-ipv4", "IPv4 address"), &mut notes),
        public_ipv6: address::<Ipv6Addr>(&responses.ipv6, ("ipv6", "IPv6 address"), &mut notes),
        private_ipv6: None,
    };
    let hostname = first_word(&responses.hostname).map(str::to_owned);
    let instance = first_word(&responses.instance).map(str::to_owned);
    Metadata { hostname, keys, addresses, instance, network: None, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance() {
        let responses = Responses {
            instance: b"i-10a64379".to_vec(),
            hostname: b"ip-10-0-0-7.ec2.internal other.example\nmore".to_vec(),
            local_ipv4: b"10.0.0.7".to_vec(),
            public_ipv4: b"54.1.2.3\nmore".to_vec(),
            ipv6: b"2600:1f18:0:0::1".to_vec(),
            keys: vec![("my-key".into(), b"ssh-rsa A my-key\nsecond".to_vec()), ("gone".into(), vec![])],
        };
        let metadata = metadata(&responses);
        assert_eq!(metadata.hostname.as_deref(), Some("ip-10-0-0-7.ec2.internal"));
        assert_eq!(metadata.instance.as_deref(), Some("i-10a64379"));
        assert_eq!(metadata.keys, [("my-key".into(), "ssh-rsa A my-key".into())]);
        let addresses = &metadata.addresses;
        assert_eq!(addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(addresses.public_ipv4.as_deref(), Some("54.1.2.3"));
        assert_eq!(addresses.public_ipv6.as_deref(), Some("2600:1f18::1"));
        assert_eq!(metadata.notes, ["ignoring key \"gone\", which is empty"]);
        assert_eq!(super::metadata(&Responses::default()), Metadata::default());
    }

    #[test]
    fn invalid_value_does_not_affect_others() {
        let responses = Responses {
            local_ipv4: b"10.0.0.7".to_vec(),
            public_ipv4: b"<html>".to_vec(),
            ipv6: b"\xff\xfe".to_vec(),
            hostname: b" \n".to_vec(),
            ..Responses::default()
        };
        let metadata = metadata(&responses);
        assert_eq!((metadata.hostname, metadata.addresses.public_ipv4), (None, None));
        assert_eq!(metadata.addresses.private_ipv4.as_deref(), Some("10.0.0.7"));
        assert_eq!(
            metadata.notes,
            ["ignoring public-ipv4, which is no IPv4 address", "ignoring ipv6, which is no IPv6 address"]
        );
    }

    #[test]
    fn lists() {
        let names = key_names(b"0=my-key\n1=a=b\n\n").unwrap();
        assert_eq!(names[0], KeyName { id: "0".into(), name: "my-key".into() });
        assert_eq!((&*names[1].id, &*names[1].name, names.len()), ("1", "a=b", 2));
        for (list, expect) in [
            ("0=a\nmy-key", "malformed public key: \"my-key\""),
            ("../../x=a", "malformed public key: \"../../x=a\""),
            ("=a", "malformed public key: \"=a\""),
        ] {
            assert_eq!(key_names(list.as_bytes()).unwrap_err().to_string(), expect);
        }
        assert_eq!(key_names(&b"0=a\n".repeat(1000)).unwrap().len(), MAX_METADATA_KEYS);
        let page = key_names("é".repeat(1000).as_bytes()).unwrap_err().to_string();
        assert!(page.len() < 250, "{page}");
        assert_eq!(
            interfaces(b"02:29:96:8f:6a:2d/\n<html>\n02:29:96:8f:6a:2e/"),
            ["02:29:96:8f:6a:2d", "02:29:96:8f:6a:2e"]
        );
    }
}
