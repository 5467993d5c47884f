//! Ids of members and of clusters: cut from SHA-1, so that all who boot from the same list compute the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest as _, Sha1};

use crate::url::{Url, sorted};

/// 64 bits; as text lower-case hex without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", self.0)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Peers write ids as decimal numbers to each other.
impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

/// To people, and to clients, they are hex.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `added_at`: unix seconds, for members that are added to a running cluster; their ids must not come again.
pub fn member(peer_urls: &[Url], token: &str, added_at: Option<u64>) -> Id {
    let mut hash = Sha1::new();
    for url in sorted(peer_urls.to_vec()) {
        hash.update(url.to_string());
    }
    hash.update(token);
    if let Some(seconds) = added_at {
        hash.update(seconds.to_string());
    }
    first_eight(&hash.finalize())
}

/// From the ids of the founding members, in any order.
pub fn cluster(members: &[Id]) -> Id {
    let mut members = members.to_vec();
    members.sort();
    let mut hash = Sha1::new();
    for member in members {
        hash.update(member.0.to_be_bytes());
    }
    first_eight(&hash.finalize())
}

fn first_eight(digest: &[u8]) -> Id {
    Id(digest.iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::parse_list;

    /// The ids that every 2.x user has seen in the logs of a bare etcd.
    #[test]
    fn ids_are_those_of_etcd() {
        let check = |urls: &str, id: &str, cluster_id: &str| {
            let one = member(&parse_list(urls).unwrap(), "etcd-cluster", None);
            assert_eq!((one.to_string().as_str(), cluster(&[one]).to_string().as_str()), (id, cluster_id));
        };
        check("http://localhost:7001,http://localhost:2380", "ce2a822cea30bfca", "7e27652122e8b2ae");
        check("http://localhost:2380", "8e9e05c52164694d", "cdf818194e3a8c32");
    }

    /// What Debian's etcd 3.4.23 registered for itself with this token.
    #[test]
    fn a_discovery_url_is_the_token() {
        let url = parse_list("http://127.0.0.1:31380").unwrap();
        let token = "http://127.0.0.1:29088/7afbb68efdf4fd59a02a632644382b76";
        assert_eq!(member(&url, token, None).to_string(), "98cd155dcab801a1");
    }

    #[test]
    fn the_order_does_not_matter_and_the_time_does() {
        let urls = parse_list("http://a:1").unwrap();
        assert_ne!(member(&urls, "t", Some(1)), member(&urls, "t", Some(2)));
        assert_ne!(member(&urls, "t", None), member(&urls, "u", None));
        assert_eq!(cluster(&[Id(1), Id(2)]), cluster(&[Id(2), Id(1)]));
        assert_eq!("0f".parse::<Id>().map(|id| id.to_string()), Ok("f".to_owned()));
    }
}
