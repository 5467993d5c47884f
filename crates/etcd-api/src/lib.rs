//! The language of etcd's v2 interface: requests, answers, errors and times, as text and as values.
//!
//! It must never decide what a request does to the store, read a clock, or open anything.

mod action;
mod api_error;
mod auth;
mod error_code;
mod event;
mod id;
mod key;
mod keys_request;
mod limits;
mod member;
pub mod received;
mod store_statistics;
mod timestamp;

pub use action::Action;
pub use api_error::ApiError;
pub use auth::{KeyPermissions, Permissions, Role};
pub use error_code::ErrorCode;
pub use event::{Event, Node};
pub use id::{format_id, parse_id};
pub use key::{Key, KeyError};
pub use keys_request::{DeleteRequest, GetRequest, KeysRequest, PostRequest, PutRequest, WatchRequest};
pub use limits::{MAX_BODY_BYTES, MAX_KEY_BYTES, MAX_KEY_LEVELS, MAX_TTL_SECONDS};
pub use member::Member;
pub use store_statistics::StoreStatistics;
pub use timestamp::Timestamp;
