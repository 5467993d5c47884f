//! Parses and validates requests to `/v2/keys`, in etcd's order of checks.

use bytes::Bytes;

use crate::form::Form;
use crate::json_text::to_text;
use crate::keys_request::{DeleteRequest, GetRequest, KeysRequest, PostRequest, PutRequest, WatchRequest};
use crate::limits::MAX_TTL_SECONDS;
use crate::request_path::keys_path;
use crate::{ApiError, ErrorCode, Key};

/// The supported methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A GET without the response's body.
    Head,
    /// Reads or watches.
    Get,
    /// Sets, creates, updates, swaps or refreshes.
    Put,
    /// Creates in order.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// The value of `Allow` for other methods.
    pub const ALLOW: &'static str = "HEAD,GET,PUT,POST,DELETE";

    /// `None` for methods that are not supported; names are case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HEAD" => Some(Self::Head),
            "GET" => Some(Self::Get),
            "PUT" => Some(Self::Put),
            "POST" => Some(Self::Post),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// The parts of a request to `/v2/keys`.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method of the request line.
    pub method: Method,
    /// Decoded, from `RequestPath::Clean`.
    pub path: &'a [u8],
    /// Not decoded.
    pub query: Option<&'a str>,
    /// The `Content-Type`: the body is parsed only if it is a form.
    pub content_type: Option<&'a [u8]>,
    /// Empty without a body.
    pub body: &'a [u8],
}

impl KeysRequest {
    /// Errors have index 0. The checks are in this order: form, prefix, prevIndex, waitIndex, recursive, sorted,
    /// wait, dir, quorum, stream, wait's method, prevValue, ttl, prevExist, noValueOnSuccess, refresh.
    pub fn parse(parts: RequestParts<'_>) -> Result<Self, ApiError> {
        let body = matches!(parts.method, Method::Put | Method::Post).then_some(parts.body);
        let form = Form::parse(parts.query, parts.content_type, body)
            .map_err(|error| ApiError::invalid_request(ErrorCode::InvalidForm, error.to_string()))?;
        let key = key_of(parts.path)?;
        let fields = Fields::check(&form, parts.method)?;
        Ok(fields.into_request(parts.method, key, &form))
    }

    /// The key, or the directory of a POST.
    pub fn key(&self) -> &Key {
        match self {
            Self::Get(request) => &request.key,
            Self::Watch(request) => &request.key,
            Self::Put(request) => &request.key,
            Self::Post(request) => &request.key,
            Self::Delete(request) => &request.key,
        }
    }
}

fn key_of(path: &[u8]) -> Result<Key, ApiError> {
    let refuse = |cause: String| ApiError::invalid_request(ErrorCode::InvalidForm, cause);
    let rest = keys_path(path).ok_or_else(|| refuse("incorrect key prefix".to_owned()))?;
    Key::parse(rest).map_err(|error| refuse(error.to_string()))
}

/// All parameters after their individual checks.
struct Fields {
    prev_index: Option<u64>,
    wait_index: Option<u64>,
    recursive: bool,
    sorted: bool,
    wait: bool,
    dir: bool,
    quorum: bool,
    stream: bool,
    prev_value: Option<Bytes>,
    ttl_seconds: Option<u64>,
    prev_exist: Option<bool>,
    no_value_on_success: bool,
    refresh: bool,
}

impl Fields {
    fn check(form: &Form<'_>, method: Method) -> Result<Self, ApiError> {
        let fields = Self {
            prev_index: index(form, "prevIndex")?,
            wait_index: index(form, "waitIndex")?,
            recursive: quoted_flag(form, "recursive")?,
            sorted: quoted_flag(form, "sorted")?,
            wait: quoted_flag(form, "wait")?,
            dir: quoted_flag(form, "dir")?,
            quorum: quoted_flag(form, "quorum")?,
            stream: quoted_flag(form, "stream")?,
            prev_value: None,
            ttl_seconds: None,
            prev_exist: None,
            no_value_on_success: false,
            refresh: false,
        };
        if fields.wait && method != Method::Get {
            let cause = "\"wait\" can only be used with GET requests";
            return Err(ApiError::invalid_request(ErrorCode::InvalidField, cause));
        }
        let prev_value = prev_value(form)?;
        let ttl_seconds = ttl(form)?;
        let prev_exist = bare_flag(form, "prevExist")?;
        let no_value_on_success = quoted_flag(form, "noValueOnSuccess")?;
        let refresh = bare_flag(form, "refresh")?.unwrap_or(false);
        if refresh {
            check_refresh(form, ttl_seconds)?;
        }
        Ok(Self { prev_value, ttl_seconds, prev_exist, no_value_on_success, refresh, ..fields })
    }

    fn into_request(self, method: Method, key: Key, form: &Form<'_>) -> KeysRequest {
        let value = || Bytes::copy_from_slice(form.get("value").unwrap_or_default());
        let Self { recursive, dir, ttl_seconds, prev_value, prev_index, no_value_on_success, .. } = self;
        match method {
            Method::Get if self.wait && !self.quorum => KeysRequest::Watch(WatchRequest {
                key,
                recursive,
                since: self.wait_index,
                stream: self.stream,
            }),
            Method::Get | Method::Head => {
                let head = method == Method::Head;
                let quorum = self.quorum && !head;
                KeysRequest::Get(GetRequest { key, recursive, sorted: self.sorted, quorum, head })
            }
            Method::Put => KeysRequest::Put(PutRequest {
                key,
                value: value(),
                dir,
                ttl_seconds,
                prev_exist: self.prev_exist,
                prev_value,
                prev_index,
                refresh: self.refresh,
                no_value_on_success,
            }),
            Method::Post => {
                KeysRequest::Post(PostRequest { key, value: value(), dir, ttl_seconds, no_value_on_success })
            }
            Method::Delete => {
                KeysRequest::Delete(DeleteRequest { key, dir, recursive, prev_value, prev_index })
            }
        }
    }
}

fn prev_value(form: &Form<'_>) -> Result<Option<Bytes>, ApiError> {
    match form.get("prevValue") {
        Some(b"") => {
            Err(ApiError::invalid_request(ErrorCode::PrevValueRequired, "\"prevValue\" cannot be empty"))
        }
        value => Ok(value.map(Bytes::copy_from_slice)),
    }
}

fn ttl(form: &Form<'_>) -> Result<Option<u64>, ApiError> {
    let Some(text) = form.get("ttl").filter(|text| !text.is_empty()) else { return Ok(None) };
    match number(text).filter(|seconds| *seconds <= MAX_TTL_SECONDS) {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(ApiError::invalid_request(ErrorCode::TtlNotANumber, "invalid value for \"ttl\"")),
    }
}

fn check_refresh(form: &Form<'_>, ttl_seconds: Option<u64>) -> Result<(), ApiError> {
    if form.get("value").is_some_and(|value| !value.is_empty()) {
        return Err(ApiError::invalid_request(
            ErrorCode::RefreshWithValue,
            "A value was provided on a refresh",
        ));
    }
    if ttl_seconds.is_none() {
        return Err(ApiError::invalid_request(ErrorCode::RefreshWithoutTtl, "No TTL value set"));
    }
    Ok(())
}

/// An index; 0 counts as unset.
fn index(form: &Form<'_>, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = form.get(name) else { return Ok(None) };
    match number(text) {
        Some(index) => Ok(Some(index).filter(|index| *index != 0)),
        None => Err(ApiError::invalid_request(
            ErrorCode::IndexNotANumber,
            format!("invalid value for \"{name}\""),
        )),
    }
}

/// A flag whose error quotes its name; false if absent.
fn quoted_flag(form: &Form<'_>, name: &str) -> Result<bool, ApiError> {
    let Some(text) = form.get(name) else { return Ok(false) };
    boolean(text).ok_or_else(|| {
        ApiError::invalid_request(ErrorCode::InvalidField, format!("invalid value for \"{name}\""))
    })
}

/// A flag whose error does not quote its name.
fn bare_flag(form: &Form<'_>, name: &str) -> Result<Option<bool>, ApiError> {
    let Some(text) = form.get(name) else { return Ok(None) };
    match boolean(text) {
        Some(value) => Ok(Some(value)),
        None => Err(ApiError::invalid_request(ErrorCode::InvalidField, format!("invalid value for {name}"))),
    }
}

fn boolean(text: &[u8]) -> Option<bool> {
    go_compat::parse_bool(std::str::from_utf8(text).ok()?)
}

/// Digits only; Rust's parser would accept a leading `+`.
fn number(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'+') { None } else { to_text(text).parse().ok() }
}

#[cfg(test)]
#[path = "parse_keys_request_tests.rs"]
mod tests;
