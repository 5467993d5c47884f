//! Reading and changing keys.

use std::time::Duration;

use hyper::Method;

use super::event::{Answer, answer_of};
use crate::client::Client;
use crate::error::Error;
use crate::escape;
use crate::wire::{Body, Call, FORM};

#[derive(Debug, Clone, Copy, Default)]
pub struct Get {
    pub recursive: bool,
    pub sorted: bool,
    /// Through the log: never stale, and fails without a majority.
    pub quorum: bool,
}

/// What must be known about the key for a `set` to happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Exists {
    #[default]
    Either,
    Yes,
    No,
}

/// A PUT with all that it can say; the named methods of [`Client`] cover what is usual.
#[derive(Debug, Clone, Default)]
pub struct Set {
    /// Whole seconds are sent; none means forever, and takes an old one away.
    pub ttl: Option<Duration>,
    pub dir: bool,
    pub exists: Exists,
    /// An empty one is not sent: the server refuses it.
    pub prev_value: Option<String>,
    /// 0 is not sent: it means nothing to the server.
    pub prev_index: Option<u64>,
    /// Sets the TTL only; wakes no watcher.
    pub refresh: bool,
    /// The answer has no node (etcd 3; 2.x ignores it).
    pub no_value_on_success: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Delete {
    pub dir: bool,
    pub recursive: bool,
    pub prev_value: Option<String>,
    pub prev_index: Option<u64>,
}

const YES: &str = "true";

impl Client {
    pub async fn get(&self, key: &str, how: Get) -> Result<Answer, Error> {
        let query = escape::form(&[
            ("quorum", how.quorum.to_string()),
            ("recursive", how.recursive.to_string()),
            ("sorted", how.sorted.to_string()),
        ]);
        self.keys(Call::get(format!("{}?{query}", escape::key_path(key)))).await
    }

    /// `value` is not sent with a directory or a refresh.
    pub async fn set(&self, key: &str, value: impl AsRef<[u8]>, how: &Set) -> Result<Answer, Error> {
        let mut query = compared(how.prev_value.as_ref(), how.prev_index);
        match how.exists {
            Exists::Either => {}
            Exists::Yes => query.push(("prevExist", YES.to_owned())),
            Exists::No => query.push(("prevExist", "false".to_owned())),
        }
        let flags =
            [("dir", how.dir), ("refresh", how.refresh), ("noValueOnSuccess", how.no_value_on_success)];
        query.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, YES.to_owned())));
        let with_value = !how.dir && !how.refresh;
        let mut call = Call::with(Method::PUT, with_query(escape::key_path(key), &query));
        call.body = Some(body(with_value.then_some(value.as_ref()), how.ttl));
        // A repeated creation would say that the key exists, although it was this one that made it.
        call.repeatable = how.exists != Exists::No;
        self.keys(call).await
    }

    /// Fails when the key exists ([`Error::is_key_exists`]).
    pub async fn create(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Answer, Error> {
        self.set(key, value, &Set { exists: Exists::No, ttl, ..Set::default() }).await
    }

    /// Fails when the key is missing ([`Error::is_key_not_found`]).
    pub async fn update(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Answer, Error> {
        self.set(key, value, &Set { exists: Exists::Yes, ttl, ..Set::default() }).await
    }

    /// Fails when the key was changed since ([`Error::is_compare_failed`]).
    pub async fn compare_and_swap(
        &self,
        key: &str,
        value: impl AsRef<[u8]>,
        prev_index: u64,
        ttl: Option<Duration>,
    ) -> Result<Answer, Error> {
        self.set(key, value, &Set { prev_index: Some(prev_index), ttl, ..Set::default() }).await
    }

    /// A new directory; fails when there is anything of that name.
    pub async fn mkdir(&self, key: &str, ttl: Option<Duration>) -> Result<Answer, Error> {
        self.set(key, "", &Set { dir: true, exists: Exists::No, ttl, ..Set::default() }).await
    }

    /// A new key below `dir` whose name is greater than all that were made so before.
    pub async fn post(
        &self,
        dir: &str,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<Answer, Error> {
        let mut call = Call::with(Method::POST, escape::key_path(dir));
        call.body = Some(body(Some(value.as_ref()), ttl));
        call.repeatable = false;
        self.keys(call).await
    }

    pub async fn delete(&self, key: &str, how: &Delete) -> Result<Answer, Error> {
        let mut query = compared(how.prev_value.as_ref(), how.prev_index);
        let flags = [("dir", how.dir), ("recursive", how.recursive)];
        query.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, YES.to_owned())));
        self.keys(Call::with(Method::DELETE, with_query(escape::key_path(key), &query))).await
    }

    /// Fails when the key was changed since ([`Error::is_compare_failed`]).
    pub async fn compare_and_delete(&self, key: &str, prev_index: u64) -> Result<Answer, Error> {
        self.delete(key, &Delete { prev_index: Some(prev_index), ..Delete::default() }).await
    }

    async fn keys(&self, call: Call) -> Result<Answer, Error> {
        let (endpoint, reply) = self.ask(&call).await?;
        answer_of(&endpoint, &reply)
    }
}

fn compared(value: Option<&String>, index: Option<u64>) -> Vec<(&'static str, String)> {
    let value = value.filter(|value| !value.is_empty()).map(|value| ("prevValue", value.clone()));
    let index = index.filter(|index| *index != 0).map(|index| ("prevIndex", index.to_string()));
    value.into_iter().chain(index).collect()
}

fn with_query(path: String, query: &[(&str, String)]) -> String {
    if query.is_empty() { path } else { format!("{path}?{}", escape::form(query)) }
}

/// A TTL is rounded up to a second: 0 would end the key at once.
fn body(value: Option<&[u8]>, ttl: Option<Duration>) -> Body {
    let seconds = ttl.map(|ttl| ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
    let mut fields: Vec<(&str, Vec<u8>)> = Vec::new();
    fields.extend(value.map(|value| ("value", value.to_vec())));
    fields.extend(seconds.map(|seconds| ("ttl", seconds.to_string().into_bytes())));
    Body { kind: FORM, text: escape::form(&fields), secret: false }
}
