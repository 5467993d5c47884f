//! What can be asked of the state: the content of the replicated log.

use std::fmt;

use bytes::Bytes;
use etcd_api::{
    DeleteRequest, Key, KeysRequest, Member, Permissions, PostRequest, PutRequest, Role, Timestamp,
};

/// One change. Every moment and id in it was chosen by the member that proposed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Put(Put),
    Post(Post),
    Delete(Delete),
    /// The cluster's time, by the leader: what expires at or before it goes.
    Sync {
        now: Timestamp,
    },
    /// A member with its id and peer URLs; usually without name and client URLs.
    AddMember(Member),
    RemoveMember {
        id: u64,
    },
    UpdateMember {
        id: u64,
        peer_urls: Vec<String>,
    },
    /// What a member says of itself when it starts.
    PublishMember {
        id: u64,
        name: String,
        client_urls: Vec<String>,
    },
    SetClusterVersion {
        version: String,
    },
    /// Which disk a member keeps its data on: the first one recorded stays, for as long as the member does.
    RecordDisk {
        id: u64,
        disk: u128,
        /// The recorded disk that this one may take the place of: the operator said so.
        instead_of: Option<u128>,
    },
    Auth(AuthCommand),
}

/// PUT, in all its forms: set, create, update, compare-and-swap, refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    /// `None` is permanent.
    pub expiration: Option<Timestamp>,
    pub prev_exist: Option<bool>,
    /// An empty value counts as none, as on the wire.
    pub prev_value: Option<Bytes>,
    /// 0 counts as none.
    pub prev_index: Option<u64>,
    pub refresh: bool,
}

/// POST: a child of `key` that is named by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    pub expiration: Option<Timestamp>,
}

/// DELETE, with and without comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub key: Key,
    pub dir: bool,
    pub recursive: bool,
    pub prev_value: Option<Bytes>,
    pub prev_index: Option<u64>,
}

/// Changes of users, roles and whether they matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthCommand {
    Enable,
    Disable,
    /// PUT of a user: made where there is none, else changed.
    PutUser {
        name: String,
        /// `None` where the request had no password, or an empty one.
        password: Option<PasswordHash>,
        /// Of a new user only.
        roles: Vec<String>,
        grant: Vec<String>,
        revoke: Vec<String>,
    },
    DeleteUser {
        name: String,
    },
    CreateRole(Role),
    UpdateRole {
        name: String,
        grant: Permissions,
        revoke: Permissions,
    },
    DeleteRole {
        name: String,
    },
}

/// A bcrypt hash, made by who proposes. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(..)")
    }
}

/// Bytes that are no command of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("command format {found} is not known here (this version writes {known})")]
    UnknownVersion { found: u8, known: u8 },
    #[error("command ends early at byte {at}")]
    Truncated { at: usize },
    #[error("command has an impossible {field} at byte {at}")]
    Malformed { field: &'static str, at: usize },
}

impl Put {
    /// `now` is the cluster's time at the receiving member.
    pub fn from_request(request: PutRequest, now: Timestamp) -> Self {
        Self {
            key: request.key,
            value: request.value,
            dir: request.dir,
            expiration: request.ttl_seconds.map(|seconds| now.plus_seconds(seconds)),
            prev_exist: request.prev_exist,
            prev_value: request.prev_value,
            prev_index: request.prev_index,
            refresh: request.refresh,
        }
    }
}

impl Post {
    /// `now` is the cluster's time at the receiving member.
    pub fn from_request(request: PostRequest, now: Timestamp) -> Self {
        Self {
            key: request.key,
            value: request.value,
            dir: request.dir,
            expiration: request.ttl_seconds.map(|seconds| now.plus_seconds(seconds)),
        }
    }
}

impl From<DeleteRequest> for Delete {
    fn from(request: DeleteRequest) -> Self {
        Self {
            key: request.key,
            dir: request.dir,
            recursive: request.recursive,
            prev_value: request.prev_value,
            prev_index: request.prev_index,
        }
    }
}

impl Command {
    /// The command that a request asks for; `None` for requests that change nothing. `now` is the
    /// cluster's time at the receiving member.
    pub fn from_request(request: KeysRequest, now: Timestamp) -> Option<Self> {
        match request {
            KeysRequest::Put(put) => Some(Self::Put(Put::from_request(put, now))),
            KeysRequest::Post(post) => Some(Self::Post(Post::from_request(post, now))),
            KeysRequest::Delete(delete) => Some(Self::Delete(delete.into())),
            KeysRequest::Get(_) | KeysRequest::Watch(_) => None,
        }
    }
}
