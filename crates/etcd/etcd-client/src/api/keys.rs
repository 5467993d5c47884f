//! The keys API.

use std::time::Duration;

use hyper::Method;

use super::event::{Response, parse_response};
use crate::client::Client;
use crate::error::Error;
use crate::escape;
use crate::transport::{Body, Call, FORM};

/// Options of a read.
#[derive(Debug, Clone, Copy, Default)]
pub struct GetOptions {
    /// Lists subdirectories, too.
    pub recursive: bool,
    /// Sorts listings by key, as Keelson's server always does.
    pub sorted: bool,
    /// Linearizable read; fails without a majority.
    pub quorum: bool,
}

/// Precondition of a `set`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrevExist {
    /// Sets the key either way.
    #[default]
    Ignore,
    /// Updates: fails if the key does not exist.
    Exist,
    /// Creates: fails if the key exists.
    NoExist,
}

/// All options of a PUT; the named methods of [`Client`] cover common cases.
#[derive(Debug, Clone, Default)]
pub struct SetOptions {
    /// Rounded up to seconds. `None` means no expiration, and removes an existing TTL.
    pub ttl: Option<Duration>,
    /// Creates a directory, without a value.
    pub dir: bool,
    /// Whether the key must exist.
    pub prev_exist: PrevExist,
    /// An empty value is not sent, since the server rejects it.
    pub prev_value: Option<String>,
    /// 0 is not sent, since the server ignores it.
    pub prev_index: Option<u64>,
    /// Updates the TTL only, without an event.
    pub refresh: bool,
    /// The response has no node (etcd 3; 2.x ignores it).
    pub no_value_on_success: bool,
}

/// Options of a DELETE.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Allows an empty directory.
    pub dir: bool,
    /// Allows a directory with content.
    pub recursive: bool,
    /// Removes the key only with this value. An empty value is not sent.
    pub prev_value: Option<String>,
    /// Removes the key only with this `modifiedIndex`. 0 is not sent.
    pub prev_index: Option<u64>,
}

const YES: &str = "true";

impl Client {
    /// Reads a key, or lists a directory.
    pub async fn get(&self, key: &str, options: GetOptions) -> Result<Response, Error> {
        let query = escape::form(&[
            ("quorum", options.quorum.to_string()),
            ("recursive", options.recursive.to_string()),
            ("sorted", options.sorted.to_string()),
        ]);
        self.keys(Call::get(format!("{}?{query}", escape::key_path(key)))).await
    }

    /// `value` is not sent for a directory or a refresh.
    pub async fn set(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        options: &SetOptions,
    ) -> Result<Response, Error> {
        let mut query = comparison_query(options.prev_value.as_ref(), options.prev_index);
        match options.prev_exist {
            PrevExist::Ignore => {}
            PrevExist::Exist => query.push(("prevExist", YES.to_owned())),
            PrevExist::NoExist => query.push(("prevExist", "false".to_owned())),
        }
        let flags = [
            ("dir", options.dir),
            ("refresh", options.refresh),
            ("noValueOnSuccess", options.no_value_on_success),
        ];
        query.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, YES.to_owned())));
        let with_value = !options.dir && !options.refresh;
        let mut call = Call::with(Method::PUT, with_query(escape::key_path(key), &query));
        call.body = Some(body(with_value.then_some(value.as_ref()), options.ttl));
        // A repeated create could fail because of its own first attempt.
        call.repeatable = options.prev_exist != PrevExist::NoExist;
        self.keys(call).await
    }

    /// Fails if the key exists ([`Error::is_key_exists`]).
    pub async fn create(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Response, Error> {
        self.set(key, value, &SetOptions { prev_exist: PrevExist::NoExist, ttl, ..SetOptions::default() })
            .await
    }

    /// Fails if the key does not exist ([`Error::is_key_not_found`]).
    pub async fn update(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Response, Error> {
        self.set(key, value, &SetOptions { prev_exist: PrevExist::Exist, ttl, ..SetOptions::default() }).await
    }

    /// Fails if the key was modified ([`Error::is_compare_failed`]).
    pub async fn compare_and_swap(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        prev_index: u64,
        ttl: Option<Duration>,
    ) -> Result<Response, Error> {
        self.set(key, value, &SetOptions { prev_index: Some(prev_index), ttl, ..SetOptions::default() }).await
    }

    /// Creates a directory; fails if the key exists.
    pub async fn mkdir(&self, key: &str, ttl: Option<Duration>) -> Result<Response, Error> {
        self.set(
            key,
            "",
            &SetOptions { dir: true, prev_exist: PrevExist::NoExist, ttl, ..SetOptions::default() },
        )
        .await
    }

    /// Creates an in-order key below `dir`.
    pub async fn post(
        &self,
        dir: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut call = Call::with(Method::POST, escape::key_path(dir));
        call.body = Some(body(Some(value.as_ref()), ttl));
        call.repeatable = false;
        self.keys(call).await
    }

    /// Removes a key, or a directory if the options allow it.
    pub async fn delete(&self, key: &str, options: &DeleteOptions) -> Result<Response, Error> {
        let mut query = comparison_query(options.prev_value.as_ref(), options.prev_index);
        let flags = [("dir", options.dir), ("recursive", options.recursive)];
        query.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, YES.to_owned())));
        self.keys(Call::with(Method::DELETE, with_query(escape::key_path(key), &query))).await
    }

    /// Fails if the key was modified ([`Error::is_compare_failed`]).
    pub async fn compare_and_delete(&self, key: &str, prev_index: u64) -> Result<Response, Error> {
        self.delete(key, &DeleteOptions { prev_index: Some(prev_index), ..DeleteOptions::default() }).await
    }

    async fn keys(&self, call: Call) -> Result<Response, Error> {
        let (endpoint, reply) = self.send(&call).await?;
        parse_response(&endpoint, &reply)
    }
}

fn comparison_query(value: Option<&String>, index: Option<u64>) -> Vec<(&'static str, String)> {
    let value = value.filter(|value| !value.is_empty()).map(|value| ("prevValue", value.clone()));
    let index = index.filter(|index| *index != 0).map(|index| ("prevIndex", index.to_string()));
    value.into_iter().chain(index).collect()
}

fn with_query(path: String, query: &[(&str, String)]) -> String {
    if query.is_empty() { path } else { format!("{path}?{}", escape::form(query)) }
}

/// Rounds the TTL up to seconds: 0 would expire immediately.
fn body(value: Option<&[u8]>, ttl: Option<Duration>) -> Body {
    let seconds = ttl.map(|ttl| ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
    let mut fields: Vec<(&str, Vec<u8>)> = Vec::new();
    fields.extend(value.map(|value| ("value", value.to_vec())));
    fields.extend(seconds.map(|seconds| ("ttl", seconds.to_string().into_bytes())));
    Body { kind: FORM, text: escape::form(&fields), secret: false }
}
