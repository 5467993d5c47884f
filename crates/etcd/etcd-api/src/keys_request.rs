//! Validated requests to `/v2/keys`.

use bytes::Bytes;

use crate::Key;

/// A request of the keys API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysRequest {
    Get(GetRequest),
    Watch(WatchRequest),
    Put(PutRequest),
    Post(PostRequest),
    Delete(DeleteRequest),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    pub key: Key,
    pub recursive: bool,
    /// No effect, since listings are always sorted; kept for proxies and logs.
    pub sorted: bool,
    /// A linearizable read.
    pub quorum: bool,
    /// HEAD: no body in the response.
    pub head: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    pub key: Key,
    pub recursive: bool,
    /// `waitIndex`; `None` if absent or 0.
    pub since: Option<u64>,
    pub stream: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    pub ttl_seconds: Option<u64>,
    pub prev_exist: Option<bool>,
    /// Not empty.
    pub prev_value: Option<Bytes>,
    /// Not 0.
    pub prev_index: Option<u64>,
    pub refresh: bool,
    /// The response contains only the action.
    pub no_value_on_success: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRequest {
    pub key: Key,
    pub value: Bytes,
    pub dir: bool,
    pub ttl_seconds: Option<u64>,
    pub no_value_on_success: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    pub key: Key,
    pub dir: bool,
    pub recursive: bool,
    /// Not empty.
    pub prev_value: Option<Bytes>,
    /// Not 0.
    pub prev_index: Option<u64>,
}
