//! Requests to `/v2/keys` after every check that needs no store.

use bytes::Bytes;

use crate::Key;

/// What a client asks of the keys.
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
    /// Listings are always sorted; kept because proxies and logs show it.
    pub sorted: bool,
    /// A linearizable read.
    pub quorum: bool,
    /// HEAD: the same answer without its body.
    pub head: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    pub key: Key,
    pub recursive: bool,
    /// `waitIndex`; `None` where it is absent or 0.
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
    /// Never empty.
    pub prev_value: Option<Bytes>,
    /// Never 0.
    pub prev_index: Option<u64>,
    pub refresh: bool,
    /// Answer the action alone.
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
    /// Never empty.
    pub prev_value: Option<Bytes>,
    /// Never 0.
    pub prev_index: Option<u64>,
}
