//! Response of a peer port to `GET /members` during bootstrap.
//!
//! A member of a cluster responds with 200, the member list, and the cluster id in `X-Etcd-Cluster-Id`. A member that
//! waits in `-peers` mode responds with 503 and its [`ClusterProposal`].

use serde::{Deserialize, Serialize};

use crate::ids::Id;
use crate::limits::MAX_MEMBERS;
use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerResponse {
    /// No response within the timeout, or an invalid one.
    NoResponse,
    /// Running, without a cluster.
    Waiting(ClusterProposal),
    Running(RunningCluster),
}

/// The members that a waiting member proposes to bootstrap a cluster with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterProposal {
    /// Sorted and unique; includes its own URL.
    pub set: Vec<Url>,
    pub token: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCluster {
    pub id: Id,
    pub members: Vec<RunningMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunningMember {
    pub id: Id,
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<Url>,
    /// Empty until the member has started.
    #[serde(default)]
    pub name: String,
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<Url>,
}

impl RunningMember {
    pub fn has_started(&self) -> bool {
        !self.name.is_empty() || !self.client_urls.is_empty()
    }
}

impl RunningCluster {
    /// The member with one of these peer URLs.
    pub fn of_urls(&self, urls: &[Url]) -> Option<&RunningMember> {
        self.members.iter().find(|member| member.peer_urls.iter().any(|url| urls.contains(url)))
    }

    /// The client URLs of all members except one.
    pub fn client_urls(&self, except: Option<Id>) -> Vec<Url> {
        let others = self.members.iter().filter(|member| Some(member.id) != except);
        others.flat_map(|member| member.client_urls.iter().cloned()).collect()
    }
}

impl PeerResponse {
    /// Parses an HTTP response. An invalid one counts as no response.
    pub fn read(status: u16, cluster_id: Option<&str>, body: &[u8]) -> Self {
        let read = match status {
            200 => {
                let members = serde_json::from_slice::<Vec<RunningMember>>(body).ok();
                let id = cluster_id.and_then(|id| id.parse().ok());
                members
                    .filter(|members| (1..=MAX_MEMBERS).contains(&members.len()))
                    .zip(id)
                    .map(|(members, id)| Self::Running(RunningCluster { id, members }))
            }
            503 => serde_json::from_slice::<ClusterProposal>(body)
                .ok()
                .filter(|proposal| proposal.set.len() <= MAX_MEMBERS)
                .map(Self::Waiting),
            _ => None,
        };
        read.unwrap_or(Self::NoResponse)
    }
}
