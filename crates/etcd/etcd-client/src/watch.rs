//! Watches of a key or a tree, across connections.

use std::pin::Pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};

use crate::api::event::{Response, parse_error, parse_event};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Attempt, Error, Reason};
use crate::escape;
use crate::limits::{EMPTY_WATCH_DELAY, MAX_EMPTY_WATCHES, MAX_EVENT_BYTES, MAX_SMALL_RESPONSE_BYTES};
use crate::transport::{Call, index_of};

/// Options of a watch.
#[derive(Debug, Clone, Copy, Default)]
pub struct WatchOptions {
    /// Watches the keys below it, too.
    pub recursive: bool,
    /// Starts after this index, including past events that the server has. `None`: starts at the first call of
    /// [`Watcher::next`].
    pub after: Option<u64>,
    /// Uses one connection for many events. etcd 2 and 3 lose events on such a connection (after a past event, or for
    /// a slow reader), so this is only for other servers.
    pub stream: bool,
}

/// A watch with its position. No event is delivered twice or lost while the server's history includes them. Otherwise
/// [`Watcher::next`] fails with an error that has [`Error::cleared_history`]: read the keys, then continue with
/// [`Watcher::resume_after`] the index of that response.
pub struct Watcher {
    client: Client,
    key: String,
    options: WatchOptions,
    /// Index of the next event; `None` if unknown.
    wait_index: Option<u64>,
    open: Option<Open>,
}

struct Open {
    endpoint: Endpoint,
    index: u64,
    body: Incoming,
    rest: BytesMut,
    /// Length of the prefix of `rest` without a newline.
    searched: usize,
    /// The single event of this response was delivered.
    done: bool,
}

impl Client {
    /// Watches a key. Sends nothing until the first call of [`Watcher::next`].
    pub fn watch(&self, key: &str, options: WatchOptions) -> Watcher {
        let wait_index = options.after.map(|after| after.saturating_add(1));
        Watcher { client: self.clone(), key: key.to_owned(), options, wait_index, open: None }
    }
}

impl Watcher {
    /// Waits for the next event. May be called again after an error. Cancel-safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Result<Response, Error> {
        let mut empty = 0;
        loop {
            if self.open.as_ref().is_some_and(|open| open.done)
                && let Some(open) = self.open.take()
            {
                open.finish().await;
            }
            if self.open.is_none() {
                self.open = Some(self.connect().await?);
            }
            // invariant: opened just above, and only this function closes it.
            let Some(open) = self.open.as_mut() else { continue };
            let line = open.line().await;
            let (endpoint, index) = (open.endpoint.clone(), open.index);
            match line {
                Ok(Some(line)) => return self.take(&endpoint, index, &line),
                // The response or the connection ended; no event is lost.
                Ok(None) | Err(Reason::Broken(_)) => {
                    self.open = None;
                    empty += 1;
                    if empty >= MAX_EMPTY_WATCHES {
                        return Err(Error::EmptyWatches { endpoint });
                    }
                    tokio::time::sleep(EMPTY_WATCH_DELAY).await;
                }
                Err(reason) => {
                    self.open = None;
                    return Err(Error::Unavailable { attempts: vec![Attempt { endpoint, reason }] });
                }
            }
        }
    }

    /// Sets the position: the next event is after `index`.
    pub fn resume_after(&mut self, index: u64) {
        self.open = None;
        self.wait_index = Some(index.saturating_add(1));
    }

    fn take(&mut self, endpoint: &Endpoint, index: u64, line: &[u8]) -> Result<Response, Error> {
        let event = match parse_event(endpoint, line) {
            Ok(event) => event,
            Err(error) => {
                self.open = None;
                return Err(error);
            }
        };
        if let Some(open) = &mut self.open {
            open.done = !self.options.stream;
        }
        if let Some(node) = &event.node {
            self.wait_index = Some(node.modified_index.saturating_add(1));
        }
        Ok(Response { event, index })
    }

    async fn connect(&mut self) -> Result<Open, Error> {
        let (endpoint, response) = self.client.open(&self.call()).await?;
        let status = response.status().as_u16();
        let (head, body) = response.into_parts();
        if !matches!(status, 200 | 201) {
            let body = Limited::new(body, MAX_SMALL_RESPONSE_BYTES).collect().await;
            let bytes = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            return Err(parse_error(&endpoint, &bytes));
        }
        let index = index_of(&head.headers);
        // Registered at this index: later events are in the history if this connection is lost.
        if self.wait_index.is_none() && index > 0 {
            self.wait_index = Some(index + 1);
        }
        Ok(Open { endpoint, index, body, rest: BytesMut::new(), searched: 0, done: false })
    }

    fn call(&self) -> Call {
        // 0 is equivalent to none.
        let mut query = vec![
            ("wait", "true".to_owned()),
            ("recursive", self.options.recursive.to_string()),
            ("waitIndex", self.wait_index.unwrap_or(0).to_string()),
        ];
        query.extend(self.options.stream.then(|| ("stream", "true".to_owned())));
        Call::get(format!("{}?{}", escape::key_path(&self.key), escape::form(&query)))
    }
}

impl Open {
    /// The next non-empty line without its newline; at the end of the body, also an unterminated one.
    async fn line(&mut self) -> Result<Option<Bytes>, Reason> {
        loop {
            if let Some(at) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.rest.split_to(self.searched + at + 1);
                self.searched = 0;
                line.truncate(line.len() - 1);
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line.freeze()));
                }
                continue;
            }
            self.searched = self.rest.len();
            if self.searched > MAX_EVENT_BYTES {
                return Err(Reason::TooLong { endpoint: self.endpoint.to_string(), limit: MAX_EVENT_BYTES });
            }
            match self.body.frame().await {
                None if self.rest.is_empty() => return Ok(None),
                None => {
                    self.searched = 0;
                    return Ok(Some(self.rest.split().freeze()));
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.rest.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(Reason::Broken(error.to_string())),
            }
        }
    }

    /// Reads the end of the response if it has arrived, so that the connection can be reused.
    async fn finish(mut self) {
        let mut body = Pin::new(&mut self.body);
        while let Poll::Ready(Some(Ok(_))) =
            std::future::poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context))).await
        {}
    }
}
