//! Why changes of members are refused, in the words that clients know.

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
    #[error("Member {id:x} is known with another disk")]
    OtherDisk { id: u64 },
    #[error("a command that is none of members was given to them")]
    NotOfMembers,
}
