//! What a peer port says about its member before they are one cluster: `GET /members`.
//!
//! A member of a cluster answers 200 with the list, and the cluster's id in `X-Etcd-Cluster-Id`. One that still
//! waits by the `-peers` rule answers 503 with its [`Wish`].

use serde::{Deserialize, Serialize};

use crate::ids::Id;
use crate::limits::MAX_MEMBERS;
use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAnswer {
    /// Nothing in time, or nothing that can be read.
    Silent,
    /// Up, and without a cluster.
    Waiting(Wish),
    Running(RunningCluster),
}

/// The set S that a waiting member wants to found a cluster with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Sorted, each once, its own URL among them.
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
    /// Empty until it has started.
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
    /// The member that one of these peer URLs belongs to.
    pub fn of_urls(&self, urls: &[Url]) -> Option<&RunningMember> {
        self.members.iter().find(|member| member.peer_urls.iter().any(|url| urls.contains(url)))
    }

    /// Where clients reach the members, without the one of this id.
    pub fn client_urls(&self, except: Option<Id>) -> Vec<Url> {
        let others = self.members.iter().filter(|member| Some(member.id) != except);
        others.flat_map(|member| member.client_urls.iter().cloned()).collect()
    }
}

impl PeerAnswer {
    /// From the HTTP answer. What cannot be read counts as silence: it decides nothing.
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
            503 => serde_json::from_slice::<Wish>(body)
                .ok()
                .filter(|wish| wish.set.len() <= MAX_MEMBERS)
                .map(Self::Waiting),
            _ => None,
        };
        read.unwrap_or(Self::Silent)
    }
}
