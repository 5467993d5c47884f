//! Following a key or a tree: one event after the other, over as many connections as it takes.

use std::pin::Pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};

use crate::api::event::{Answer, error_of, event_of};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Attempt, Error, Reason};
use crate::escape;
use crate::limits::{EMPTY_WATCH_PAUSE, EMPTY_WATCHES, EVENT_BYTES, SMALL_ANSWER_BYTES};
use crate::wire::{Call, index_of};

/// What to follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watch {
    pub recursive: bool,
    /// Events after this index: those of the past too, as far as the server remembers. Without it,
    /// whatever happens from the first call of [`Watcher::next`] on.
    pub after: Option<u64>,
    /// One connection for many events. Members of etcd 2 and 3 lose events of such a connection (those
    /// after one of the past, and those that are read late), so this is for servers that are known.
    pub stream: bool,
}

/// Its place is the index after which it goes on; no event is given twice, and none is left out as long as
/// the server remembers them. When it does not, [`Watcher::next`] fails with an error that has
/// [`Error::cleared_history`]: read the keys, then [`Watcher::go_on_after`] the index of that answer.
pub struct Watcher {
    client: Client,
    key: String,
    how: Watch,
    /// The index of the first event that is of interest; `None` before anything is known.
    wait_index: Option<u64>,
    open: Option<Open>,
}

struct Open {
    endpoint: Endpoint,
    index: u64,
    body: Incoming,
    rest: BytesMut,
    /// So much of `rest` has no end of a line in it.
    searched: usize,
    /// The one event of this answer was taken.
    done: bool,
}

impl Client {
    pub fn watch(&self, key: &str, how: Watch) -> Watcher {
        let wait_index = how.after.map(|after| after.saturating_add(1));
        Watcher { client: self.clone(), key: key.to_owned(), how, wait_index, open: None }
    }
}

impl Watcher {
    /// Waits for the next event, for as long as it takes. After an error it may be called again: it goes on
    /// where it was. May be dropped while it waits (`select!`) without losing an event.
    pub async fn next(&mut self) -> Result<Answer, Error> {
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
                // The server has ended the answer, or the connection is lost: nothing is lost with it.
                Ok(None) | Err(Reason::Broken(_)) => {
                    self.open = None;
                    empty += 1;
                    if empty >= EMPTY_WATCHES {
                        return Err(Error::EmptyWatches { endpoint });
                    }
                    tokio::time::sleep(EMPTY_WATCH_PAUSE).await;
                }
                Err(reason) => {
                    self.open = None;
                    return Err(Error::Unavailable { attempts: vec![Attempt { endpoint, reason }] });
                }
            }
        }
    }

    /// Forgets its place: the next event is one after `index`.
    pub fn go_on_after(&mut self, index: u64) {
        self.open = None;
        self.wait_index = Some(index.saturating_add(1));
    }

    fn take(&mut self, endpoint: &Endpoint, index: u64, line: &[u8]) -> Result<Answer, Error> {
        let event = match event_of(endpoint, line) {
            Ok(event) => event,
            Err(error) => {
                self.open = None;
                return Err(error);
            }
        };
        if let Some(open) = &mut self.open {
            open.done = !self.how.stream;
        }
        if let Some(node) = &event.node {
            self.wait_index = Some(node.modified_index.saturating_add(1));
        }
        Ok(Answer { event, index })
    }

    async fn connect(&mut self) -> Result<Open, Error> {
        let (endpoint, answer) = self.client.open(&self.call()).await?;
        let status = answer.status().as_u16();
        let (head, body) = answer.into_parts();
        if !matches!(status, 200 | 201) {
            let body = Limited::new(body, SMALL_ANSWER_BYTES).collect().await;
            let bytes = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            return Err(error_of(&endpoint, &bytes));
        }
        let index = index_of(&head.headers);
        // The server has registered us: from here on nothing is missed, even if this connection is lost.
        if self.wait_index.is_none() && index > 0 {
            self.wait_index = Some(index + 1);
        }
        Ok(Open { endpoint, index, body, rest: BytesMut::new(), searched: 0, done: false })
    }

    fn call(&self) -> Call {
        // 0 is as good as none.
        let mut query = vec![
            ("wait", "true".to_owned()),
            ("recursive", self.how.recursive.to_string()),
            ("waitIndex", self.wait_index.unwrap_or(0).to_string()),
        ];
        query.extend(self.how.stream.then(|| ("stream", "true".to_owned())));
        Call::get(format!("{}?{}", escape::key_path(&self.key), escape::form(&query)))
    }
}

impl Open {
    /// The next line that is not empty, without its end; at the end of the body also one without.
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
            if self.searched > EVENT_BYTES {
                return Err(Reason::TooLong { endpoint: self.endpoint.to_string(), limit: EVENT_BYTES });
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

    /// Reads the end of the answer if it is there already, so that the connection can be used again.
    async fn finish(mut self) {
        let mut body = Pin::new(&mut self.body);
        while let Poll::Ready(Some(Ok(_))) =
            std::future::poll_fn(|context| Poll::Ready(body.as_mut().poll_frame(context))).await
        {}
    }
}
