//! Commands: the content of the replicated log.

use std::fmt;

use bytes::Bytes;
use etcd_api::{
    DeleteRequest, Key, KeysRequest, Member, Permissions, PostRequest, PutRequest, Role, Timestamp,
};

/// A command. The proposing member chose all times and ids in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Put(Put),
    Post(Post),
    Delete(Delete),
    /// The cluster's time from the leader: nodes that expire at or before it are removed.
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
    /// The attributes that a member publishes when it starts.
    PublishMember {
        id: u64,
        name: String,
        client_urls: Vec<String>,
    },
    SetClusterVersion {
        version: String,
    },
    /// The disk of a member's data: the first recorded one is kept until the member is removed.
    RecordDisk {
        id: u64,
        disk: u128,
        /// The recorded disk that this one may replace, as confirmed by the operator.
        instead_of: Option<u128>,
    },
    Auth(AuthCommand),
}

/// PUT: set, create, update, compare-and-swap, refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    /// `None` means no expiration.
    pub expiration: Option<Timestamp>,
    pub prev_exist: Option<bool>,
    /// An empty value is equivalent to `None`.
    pub prev_value: Option<Bytes>,
    /// 0 is equivalent to `None`.
    pub prev_index: Option<u64>,
    pub refresh: bool,
}

/// POST: creates a child of `key` named by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    pub expiration: Option<Timestamp>,
}

/// DELETE, optionally with a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub key: Key,
    pub dir: bool,
    pub recursive: bool,
    pub prev_value: Option<Bytes>,
    pub prev_index: Option<u64>,
}

/// Changes of users, roles, and of whether auth is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthCommand {
    Enable,
    Disable,
    /// PUT of a user: creates or modifies it.
    PutUser {
        name: String,
        /// `None` if the request has no password or an empty one.
        password: Option<PasswordHash>,
        /// For a new user only.
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

/// A bcrypt hash, computed by the proposing member. `Debug` omits it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(..)")
    }
}

/// Bytes that are not a valid command.
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
    /// The command of a request; `None` for requests that change nothing. `now` is the cluster's time at the
    /// receiving member.
    pub fn from_request(request: KeysRequest, now: Timestamp) -> Option<Self> {
        match request {
            KeysRequest::Put(put) => Some(Self::Put(Put::from_request(put, now))),
            KeysRequest::Post(post) => Some(Self::Post(Post::from_request(post, now))),
            KeysRequest::Delete(delete) => Some(Self::Delete(delete.into())),
            KeysRequest::Get(_) | KeysRequest::Watch(_) => None,
        }
    }
}
