//! The protocol of etcd's v2 API: requests, responses, errors and times, as text and as values.
//!
//! Pure: does not decide about the effect of requests, and has no clock or I/O.

#![warn(missing_docs)]

mod action;
mod api_error;
mod auth;
mod clean_path;
pub mod client;
mod error_code;
mod event;
mod event_json;
mod form;
mod id;
mod json_text;
mod key;
mod keys_request;
mod limits;
mod member;
mod parse_keys_request;
mod query_escape;
mod request_path;
mod store_statistics;
mod timestamp;
mod unavailable;
mod v1;

pub use action::Action;
pub use api_error::ApiError;
pub use auth::{KeyPermissions, Permissions, Role};
pub use error_code::ErrorCode;
pub use event::{Event, Node};
pub use form::{Form, FormError};
pub use id::{format_id, parse_id};
pub use json_text::{push_string as push_json_string, to_text};
pub use key::{Key, KeyError};
pub use keys_request::{DeleteRequest, GetRequest, KeysRequest, PostRequest, PutRequest, WatchRequest};
pub use limits::{MAX_BODY_BYTES, MAX_KEY_BYTES, MAX_KEY_LEVELS, MAX_TTL_SECONDS};
pub use member::Member;
pub use parse_keys_request::{Method, RequestParts};
pub use query_escape::EscapeError;
pub use request_path::{RequestPath, keys_path};
pub use store_statistics::StoreStatistics;
pub use timestamp::Timestamp;
pub use unavailable::Unavailable;
