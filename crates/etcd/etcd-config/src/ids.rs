//! Ids of members and clusters: the first 8 bytes of a SHA-1, equal on all members with the same list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest as _, Sha1};

use crate::url::{Url, sorted};

/// As text, lower-case hex without padding.
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

/// The peer protocol has decimal numbers.
impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

/// The client API has hex.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `added_at`: unix seconds, for members added to a running cluster, so that ids are not reused.
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

/// Computed from the ids of the initial members, in any order.
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

    /// Ids of an etcd 2.x with default flags.
    #[test]
    fn ids_equal_those_of_etcd() {
        let check = |urls: &str, id: &str, cluster_id: &str| {
            let one = member(&parse_list(urls).unwrap(), "etcd-cluster", None);
            assert_eq!((one.to_string().as_str(), cluster(&[one]).to_string().as_str()), (id, cluster_id));
        };
        check("http://localhost:7001,http://localhost:2380", "ce2a822cea30bfca", "7e27652122e8b2ae");
        check("http://localhost:2380", "8e9e05c52164694d", "cdf818194e3a8c32");
    }

    /// Registered by Debian's etcd 3.4.23 with this token.
    #[test]
    fn a_discovery_url_is_the_token() {
        let url = parse_list("http://127.0.0.1:31380").unwrap();
        let token = "http://127.0.0.1:29088/7afbb68efdf4fd59a02a632644382b76";
        assert_eq!(member(&url, token, None).to_string(), "98cd155dcab801a1");
    }

    #[test]
    fn ids_depend_on_time_but_not_on_order() {
        let urls = parse_list("http://a:1").unwrap();
        assert_ne!(member(&urls, "t", Some(1)), member(&urls, "t", Some(2)));
        assert_ne!(member(&urls, "t", None), member(&urls, "u", None));
        assert_eq!(cluster(&[Id(1), Id(2)]), cluster(&[Id(2), Id(1)]));
        assert_eq!("0f".parse::<Id>().map(|id| id.to_string()), Ok("f".to_owned()));
    }
}
