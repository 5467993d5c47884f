//! Commands: the content of the replicated log.

use std::fmt;

use bytes::Bytes;
use etcd_api::{
    DeleteRequest, Key, KeysRequest, Member, Permissions, PostRequest, PutRequest, Role, Timestamp,
};

/// A command. The proposing member chose all times and ids in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A PUT of the keys API.
    Put(Put),
    /// A POST of the keys API.
    Post(Post),
    /// A DELETE of the keys API.
    Delete(Delete),
    /// The cluster's time from the leader: nodes that expire at or before it are removed.
    Sync {
        /// Not before that of an earlier sync.
        now: Timestamp,
    },
    /// A member with its id and peer URLs; usually without name and client URLs.
    AddMember(Member),
    /// Removes a member. Its id is never accepted again.
    RemoveMember {
        /// The member to remove.
        id: u64,
    },
    /// Replaces the peer URLs of a member.
    UpdateMember {
        /// The member to change.
        id: u64,
        /// Where other members reach it.
        peer_urls: Vec<String>,
    },
    /// The attributes that a member publishes when it starts.
    PublishMember {
        /// The member that publishes.
        id: u64,
        /// `--name` of the member.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
    /// Sets the version that all members support.
    SetClusterVersion {
        /// As in `etcdcluster` of `/version`.
        version: String,
    },
    /// The disk of a member's data: the first recorded one is kept until the member is removed.
    RecordDisk {
        /// The member whose data is on the disk.
        id: u64,
        /// Identifies the disk.
        disk: u128,
        /// The recorded disk that this one may replace, as confirmed by the operator.
        instead_of: Option<u128>,
    },
    /// A change of users, roles, or of auth itself.
    Auth(AuthCommand),
}

/// PUT: set, create, update, compare-and-swap, refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The key to set.
    pub key: Key,
    /// Empty for a directory.
    pub value: Bytes,
    /// Creates a directory.
    pub dir: bool,
    /// `None` means no expiration.
    pub expiration: Option<Timestamp>,
    /// `true` updates, `false` creates, `None` does either.
    pub prev_exist: Option<bool>,
    /// An empty value is equivalent to `None`.
    pub prev_value: Option<Bytes>,
    /// 0 is equivalent to `None`.
    pub prev_index: Option<u64>,
    /// Changes the expiration only, without notifying watches.
    pub refresh: bool,
}

/// POST: creates a child of `key` named by its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The directory.
    pub key: Key,
    /// The child's value; empty for a directory.
    pub value: Bytes,
    /// Creates a directory.
    pub dir: bool,
    /// `None` means no expiration.
    pub expiration: Option<Timestamp>,
}

/// DELETE, optionally with a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The key to remove.
    pub key: Key,
    /// The key may be an empty directory.
    pub dir: bool,
    /// The key may be a directory with content.
    pub recursive: bool,
    /// An empty value is equivalent to `None`.
    pub prev_value: Option<Bytes>,
    /// 0 is equivalent to `None`.
    pub prev_index: Option<u64>,
}

/// Changes of users, roles, and of whether auth is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthCommand {
    /// Requires the user `root`; creates the role `guest` if there is none.
    Enable,
    /// Fails if auth is disabled.
    Disable,
    /// PUT of a user: creates or modifies it.
    PutUser {
        /// The user to create or modify.
        name: String,
        /// `None` if the request has no password or an empty one.
        password: Option<PasswordHash>,
        /// For a new user only.
        roles: Vec<String>,
        /// Roles to add to an existing user.
        grant: Vec<String>,
        /// Roles to take from an existing user.
        revoke: Vec<String>,
    },
    /// Removes a user. `root` is needed while auth is enabled.
    DeleteUser {
        /// The user to remove.
        name: String,
    },
    /// Fails if the role exists.
    CreateRole(Role),
    /// Changes the permissions of a role other than `root`. Fails if nothing changes.
    UpdateRole {
        /// The role to change.
        name: String,
        /// Permissions to add; fails if one is granted already.
        grant: Permissions,
        /// Permissions to take away, if granted.
        revoke: Permissions,
    },
    /// Removes a role. Users keep its name.
    DeleteRole {
        /// The role to remove.
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
#[expect(missing_docs, reason = "each variant is documented by its message")]
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
