//! The cluster's members as the state records them. Who votes is raft's affair.

use std::collections::{BTreeMap, BTreeSet};

use etcd_api::Member;

/// Members by id, and the ids that may never come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: Option<String>,
}

/// Why a change of members is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    #[error("etcdserver: ID exists")]
    IdExists { id: u64 },
    #[error("etcdserver: peerURL exists")]
    PeerUrlExists { url: String },
    #[error("No such member: {id:x}")]
    NotFound { id: u64 },
    #[error("Member permanently removed: {id:x}")]
    Removed { id: u64 },
}

impl Membership {
    /// In the order of their ids.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// `None` before the first leader decided it.
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }
}
