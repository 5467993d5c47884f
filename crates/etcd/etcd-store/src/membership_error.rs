//! Errors of membership changes, with etcd's messages.

/// Why a membership change was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MembershipError {
    #[error("etcdserver: ID exists")]
    IdExists { id: u64 },
    #[error("etcdserver: peerURL exists")]
    PeerUrlExists { url: String },
    #[error("No such member: {id:x}")]
    NotFound { id: u64 },
    #[error("Member permanently removed: {id:x}")]
    Removed { id: u64 },
    #[error("Member {id:x} is known with another disk")]
    OtherDisk { id: u64 },
    #[error("a command that is none of members was given to them")]
    NotOfMembers,
}
