//! Validated requests to `/v2/keys`.

use bytes::Bytes;

use crate::Key;

/// A request of the keys API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysRequest {
    /// GET and HEAD without `wait=true`.
    Get(GetRequest),
    /// GET with `wait=true`.
    Watch(WatchRequest),
    /// PUT: set, create, update, compare-and-swap, refresh.
    Put(PutRequest),
    /// POST: create in order.
    Post(PostRequest),
    /// DELETE, also compare-and-delete.
    Delete(DeleteRequest),
}

/// Reads a key, or lists a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    /// The key to read.
    pub key: Key,
    /// Lists subdirectories, too.
    pub recursive: bool,
    /// No effect, since listings are always sorted; kept for proxies and logs.
    pub sorted: bool,
    /// A linearizable read.
    pub quorum: bool,
    /// HEAD: no body in the response.
    pub head: bool,
}

/// Waits for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// The key to watch.
    pub key: Key,
    /// Watches the keys below it, too.
    pub recursive: bool,
    /// `waitIndex`; `None` if absent or 0.
    pub since: Option<u64>,
    /// The response does not end with the first event.
    pub stream: bool,
}

/// Changes a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// The key to set.
    pub key: Key,
    /// Empty for a directory.
    pub value: Bytes,
    /// Creates a directory.
    pub dir: bool,
    /// `None` means no expiration, and removes an existing TTL.
    pub ttl_seconds: Option<u64>,
    /// `prevExist`: `true` updates, `false` creates, `None` does either.
    pub prev_exist: Option<bool>,
    /// Not empty.
    pub prev_value: Option<Bytes>,
    /// Not 0.
    pub prev_index: Option<u64>,
    /// Changes the TTL only, without notifying watches.
    pub refresh: bool,
    /// The response contains only the action.
    pub no_value_on_success: bool,
}

/// Creates a child of a directory, named by the index of its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRequest {
    /// The directory.
    pub key: Key,
    /// The child's value; empty for a directory.
    pub value: Bytes,
    /// Creates a directory.
    pub dir: bool,
    /// `None` means no expiration.
    pub ttl_seconds: Option<u64>,
    /// The response contains only the action.
    pub no_value_on_success: bool,
}

/// Removes a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The key to remove.
    pub key: Key,
    /// The key may be an empty directory.
    pub dir: bool,
    /// The key may be a directory with content.
    pub recursive: bool,
    /// Not empty.
    pub prev_value: Option<Bytes>,
    /// Not 0.
    pub prev_index: Option<u64>,
}
