//! The list `name=url,name=url` of a new cluster, and its validation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use thiserror::Error;

use crate::ids::{self, Id};
use crate::limits::MAX_MEMBERS;
use crate::url::{Url, UrlError, join, sorted};

/// An initial member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InitialMember {
    pub id: Id,
    /// Empty with `-peers`: the member publishes its name when it starts.
    pub name: String,
    pub peer_urls: Vec<Url>,
}

/// A new cluster; the ids and members are equal on all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewCluster {
    pub id: Id,
    pub own_id: Id,
    /// Sorted by id.
    pub members: Vec<InitialMember>,
}

impl NewCluster {
    /// Computes the ids from the URLs and the token. `own` must be the URLs of one of `members`.
    pub fn new(members: impl IntoIterator<Item = (String, Vec<Url>)>, token: &str, own: &[Url]) -> Self {
        let mut members: Vec<_> = members
            .into_iter()
            .map(|(name, peer_urls)| InitialMember {
                id: ids::member(&peer_urls, token, None),
                name,
                peer_urls,
            })
            .collect();
        members.sort_by_key(|member| member.id);
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        Self { id: ids::cluster(&ids), own_id: ids::member(own, token, None), members }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<Url>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InitialClusterError {
    #[error("initial cluster is empty")]
    Empty,
    #[error("more than {MAX_MEMBERS} members in the initial cluster")]
    TooMany,
    #[error("{0:?} in the initial cluster must have the form name=url")]
    NotPair(String),
    #[error("initial cluster: member {name}: {error}")]
    Url { name: String, error: UrlError },
    #[error("initial cluster has duplicate url {0}")]
    Duplicate(Url),
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NotNamed(String),
    #[error("--initial-cluster must include {name}={url} given --initial-advertise-peer-urls={given}")]
    NotIncluded { name: String, url: String, given: String },
}

impl InitialCluster {
    pub fn parse(text: &str) -> Result<Self, InitialClusterError> {
        let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, url) = pair
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| InitialClusterError::NotPair(pair.to_owned()))?;
            let url =
                url.parse().map_err(|error| InitialClusterError::Url { name: name.to_owned(), error })?;
            members.entry(name.to_owned()).or_default().push(url);
            if members.len() > MAX_MEMBERS {
                return Err(InitialClusterError::TooMany);
            }
        }
        if members.is_empty() {
            return Err(InitialClusterError::Empty);
        }
        let members = members.into_iter().map(|(name, urls)| (name, sorted(urls))).collect();
        Ok(Self { members })
    }

    pub fn members(&self) -> &BTreeMap<String, Vec<Url>> {
        &self.members
    }

    /// The peer URLs of all members.
    pub fn urls(&self) -> Vec<Url> {
        sorted(self.members.values().flatten().cloned().collect())
    }

    /// Rejects a URL that occurs twice: it would be one member with two names.
    pub fn check_unique(&self) -> Result<(), InitialClusterError> {
        let mut seen = BTreeSet::new();
        match self.members.values().flatten().find(|url| !seen.insert((*url).clone())) {
            Some(url) => Err(InitialClusterError::Duplicate(url.clone())),
            None => Ok(()),
        }
    }

    /// The local member must be in the list with exactly the URLs that it advertises. `resolved` maps hosts to
    /// addresses, by which URLs are compared.
    pub fn check_local(
        &self,
        name: &str,
        advertised: &[Url],
        resolved: &BTreeMap<String, IpAddr>,
    ) -> Result<(), InitialClusterError> {
        let listed = self.members.get(name).ok_or_else(|| InitialClusterError::NotNamed(name.to_owned()))?;
        let resolve_all = |urls: &[Url]| -> BTreeSet<Url> {
            let resolve = |url: &Url| match resolved.get(&url.host) {
                Some(address) => Url { host: address.to_string(), ..url.clone() },
                None => url.clone(),
            };
            urls.iter().map(resolve).collect()
        };
        let (listed, given) = (resolve_all(listed), resolve_all(advertised));
        if listed == given {
            return Ok(());
        }
        let missing = advertised
            .iter()
            .find(|url| !listed.contains(url))
            .map_or_else(|| join(advertised), Url::to_string);
        Err(InitialClusterError::NotIncluded { name: name.to_owned(), url: missing, given: join(advertised) })
    }

    pub fn bootstrap(&self, name: &str, token: &str) -> Result<NewCluster, InitialClusterError> {
        self.check_unique()?;
        let own = self.members.get(name).ok_or_else(|| InitialClusterError::NotNamed(name.to_owned()))?;
        Ok(NewCluster::new(self.members.clone(), token, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::parse_list;

    fn check(list: &str, name: &str, advertised: &str, expected: Result<(), &str>) {
        let resolved = BTreeMap::from([("core-01".to_owned(), IpAddr::from([10, 0, 0, 1]))]);
        let result = InitialCluster::parse(list).and_then(|cluster| {
            cluster.check_unique()?;
            cluster.check_local(name, &parse_list(advertised).unwrap(), &resolved)
        });
        assert_eq!(result.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{list}");
    }

    #[test]
    fn lists_are_checked() {
        check("a=http://a:1,b=http://b:1", "a", "http://a:1", Ok(()));
        check("a=http://a:2,b=http://b:1,a=http://a:1", "a", "http://a:1,http://a:2", Ok(()));
        check("a=http://core-01:1", "a", "http://10.0.0.1:1", Ok(()));
        check("", "a", "http://a:1", Err("initial cluster is empty"));
        check(
            "rubbish",
            "a",
            "http://a:1",
            Err("\"rubbish\" in the initial cluster must have the form name=url"),
        );
        check(
            "a=http://a",
            "a",
            "http://a:1",
            Err("initial cluster: member a: URL address does not have the form \"host:port\": http://a"),
        );
        check(
            "a=http://a:1,b=http://a:1",
            "a",
            "http://a:1",
            Err("initial cluster has duplicate url http://a:1"),
        );
        check(
            "b=http://b:1",
            "a",
            "http://a:1",
            Err("couldn't find local name \"a\" in the initial cluster configuration"),
        );
        check(
            "n1=http://a:2",
            "n1",
            "http://a:1",
            Err(
                "--initial-cluster must include n1=http://a:1 given --initial-advertise-peer-urls=http://a:1",
            ),
        );
    }

    #[test]
    fn members_with_equal_lists_compute_equal_ids() {
        let list = InitialCluster::parse("a=http://a:1,b=http://b:1,c=http://c:1").unwrap();
        let (a, b) = (list.bootstrap("a", "t").unwrap(), list.bootstrap("b", "t").unwrap());
        assert_eq!((a.id, &a.members), (b.id, &b.members));
        assert_ne!(a.own_id, b.own_id);
        assert_ne!(a.id, list.bootstrap("a", "other").unwrap().id);
    }
}
