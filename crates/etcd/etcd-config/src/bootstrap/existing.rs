//! `-initial-cluster-state existing`: compares the configured list with the running cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use thiserror::Error;

use super::peer_response::RunningCluster;
use crate::ids::Id;
use crate::initial_cluster::InitialCluster;
use crate::url::{Url, join};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExistingError {
    #[error("error validating peerURLs {given}: member count is unequal: {running} are in the cluster")]
    Count { given: String, running: usize },
    #[error("error validating peerURLs {given}: unmatched member while checking PeerURLs: {unmatched}")]
    Unmatched { given: String, unmatched: String },
    #[error("member {0} has already been bootstrapped")]
    Bootstrapped(Id),
}

/// The id of `name` in the running cluster. Every listed member must be a member of the cluster.
pub fn own_id(
    listed: &InitialCluster,
    name: &str,
    running: &RunningCluster,
    resolved: &BTreeMap<String, IpAddr>,
) -> Result<Id, ExistingError> {
    let given = || join(&listed.urls());
    if listed.members().len() != running.members.len() {
        return Err(ExistingError::Count { given: given(), running: running.members.len() });
    }
    let resolve = |url: &Url| match resolved.get(&url.host) {
        Some(address) => Url { host: address.to_string(), ..url.clone() },
        None => url.clone(),
    };
    let resolve_all = |urls: &[Url]| urls.iter().map(resolve).collect::<BTreeSet<_>>();
    let mut own = None;
    for (listed_name, urls) in listed.members() {
        let Some(member) =
            running.members.iter().find(|member| resolve_all(&member.peer_urls) == resolve_all(urls))
        else {
            return Err(ExistingError::Unmatched { given: given(), unmatched: join(urls) });
        };
        if listed_name == name {
            own = Some(member.id);
        }
    }
    own.ok_or_else(|| ExistingError::Unmatched { given: given(), unmatched: name.to_owned() })
}
