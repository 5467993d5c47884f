//! One connection: hyper while requests are short, our own few lines while a watch waits.
//!
//! It must never hold hyper's buffers for a connection that has nothing to say: not before its first request, and
//! not while it follows.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONNECTION;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::Service;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::follow::{Followed, Following, follow};
use super::handler::{Handler, NoError, Payload, Peer, Reply, TakeOver};
use super::stop::{Level, Stop};
use super::tracked::{Phase, Signs, Tracked, Wire};
use crate::limits;

/// What takes the connection away from hyper.
enum Taken<C> {
    Follow(Box<Followed<C>>),
    Upgrade(Response<()>, TakeOver),
}

/// The service as hyper sees it: one per connection.
struct Requests<H: Handler> {
    handler: Arc<H>,
    peer: Peer,
    signs: Arc<Signs>,
    taken: Arc<Mutex<Option<Taken<H::Chunks>>>>,
}

impl<H: Handler> Requests<H> {
    async fn serve(
        handler: Arc<H>,
        peer: Peer,
        signs: Arc<Signs>,
        taken: Arc<Mutex<Option<Taken<H::Chunks>>>>,
        request: Request<Incoming>,
    ) -> Result<Response<Sent>, NoError> {
        let version = request.version();
        let keep_alive = version == Version::HTTP_11 && !asks_to_close(&request);
        let leave = match handler.handle(peer, request).await {
            Reply::Answer(response) => return Ok(response.map(|payload| Sent { payload, signs })),
            Reply::Follow(head, chunks) => {
                Taken::Follow(Box::new(Followed { head, chunks, version, keep_alive }))
            }
            Reply::Upgrade(head, take) => Taken::Upgrade(head, take),
        };
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(leave);
        // The driver takes the stream away from hyper as soon as it is polled again.
        std::future::pending().await
    }
}

impl<H: Handler> Service<Request<Incoming>> for Requests<H> {
    type Response = Response<Sent>;
    type Error = NoError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Sent>, NoError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.signs.set_phase(Phase::Service);
        Box::pin(Self::serve(
            Arc::clone(&self.handler),
            self.peer,
            Arc::clone(&self.signs),
            Arc::clone(&self.taken),
            request,
        ))
    }
}

/// An answer's body that says when hyper is done with it: then the connection waits for its next request.
struct Sent {
    payload: Payload,
    signs: Arc<Signs>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.signs.set_phase(Phase::Idle);
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.payload).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}

fn asks_to_close(request: &Request<Incoming>) -> bool {
    request.headers().get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// A connection between its turns. It is passed on in its box: an async function keeps an argument in two places,
/// and ten thousand of them wait.
pub(super) struct Line<S, H> {
    stream: S,
    /// What was read and not yet looked at.
    ahead: Bytes,
    rest: Rest<H>,
}

/// What a connection has besides its stream.
struct Rest<H> {
    peer: Peer,
    handler: Arc<H>,
    stop: Arc<Stop>,
    /// Time of the last request, with the resolution of `REST_TIME`.
    quiet_since: Instant,
    /// Given back when the connection ends.
    _place: Option<OwnedSemaphorePermit>,
}

impl<S: Wire, H: Handler> Line<S, H> {
    pub(super) fn new(
        stream: S,
        peer: Peer,
        handler: Arc<H>,
        stop: Arc<Stop>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Box<Self> {
        let rest = Rest { peer, handler, stop, quiet_since: Instant::now(), _place: place };
        Box::new(Self { stream, ahead: Bytes::new(), rest })
    }

    /// Waits for the first byte, without a buffer: an idle connection costs its socket and little more.
    async fn began(&self) -> bool {
        match self.rest.handler.idle_limit() {
            Some(limit) => {
                let until = self.rest.quiet_since + limit;
                Box::pin(timeout_at(until, self.readable())).await.unwrap_or(false)
            }
            None => self.readable().await,
        }
    }

    /// Whether the handler's idle limit has passed.
    fn is_idle(&self) -> bool {
        self.rest.handler.idle_limit().is_some_and(|limit| self.rest.quiet_since.elapsed() >= limit)
    }

    async fn readable(&self) -> bool {
        let mut drain = pin!(self.rest.stop.reached(Level::Drain));
        poll_fn(|context| {
            if drain.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            self.stream.poll_readable(context).map(|result| result.is_ok())
        })
        .await
    }
}

/// How hyper's turn ended.
enum Turn<S, H: Handler> {
    Over,
    Follow(Box<Line<S, H>>, Box<Followed<H::Chunks>>),
    /// Nothing was asked for a while: hyper's buffers are given back.
    Rest {
        line: Box<Line<S, H>>,
        /// No request was served in this turn.
        was_quiet: bool,
    },
}

/// Serves one connection to its end.
pub(super) async fn drive<S: Wire, H: Handler>(line: Box<Line<S, H>>) {
    let mut line = line;
    loop {
        if line.ahead.is_empty() && !line.began().await {
            return;
        }
        match Box::pin(requests(line)).await {
            Turn::Over => return,
            Turn::Rest { line: back, was_quiet } => {
                line = back;
                if !was_quiet {
                    line.rest.quiet_since = Instant::now();
                } else if line.is_idle() {
                    return;
                }
            }
            Turn::Follow(back, followed) => {
                line = back;
                line.rest.quiet_since = Instant::now();
                let ahead = std::mem::take(&mut line.ahead);
                let (head, following) = Following::new(&ahead, *followed);
                drop(ahead);
                match follow(&mut line.stream, head, following, &line.rest.stop).await {
                    Some(ahead) => line.ahead = ahead,
                    None => return,
                }
            }
        }
    }
}

/// Answers the head, and gives the connection away until its new owner is done or the server ends.
async fn upgrade<S: Wire>(mut stream: S, ahead: Bytes, head: &Response<()>, take: TakeOver, stop: &Stop) {
    if let Err(error) = stream.write_all(&upgrade_head(head)).await {
        tracing::debug!(%error, "answering an upgrade");
        return;
    }
    let stream = Tracked { stream, ahead, signs: Arc::new(Signs::default()) };
    tokio::select! {
        () = take(Box::new(stream)) => {}
        () = stop.reached(Level::Drain) => {}
    }
}

fn upgrade_head(head: &Response<()>) -> Vec<u8> {
    let mut text = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in head.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// hyper's turn: requests and short answers, until the connection ends, rests, or a request is to be followed.
async fn requests<S: Wire, H: Handler>(line: Box<Line<S, H>>) -> Turn<S, H> {
    let Line { stream, ahead, rest } = *line;
    let (stop, handler) = (Arc::clone(&rest.stop), Arc::clone(&rest.handler));
    let signs = Arc::new(Signs::default());
    let taken = Arc::new(Mutex::new(None));
    let half_close = handler.serves_half_closed();
    let service = Requests { handler, peer: rest.peer, signs: Arc::clone(&signs), taken: Arc::clone(&taken) };
    let mut connection = Builder::new()
        .title_case_headers(true)
        .half_close(half_close)
        // With its queue of buffers hyper 1.12 puts the refusal of a malformed request before what is left of the
        // answer to the request before it (`conn.rs`, `on_parse_error`; found by fuzzing). One buffer keeps the order.
        .writev(false)
        .max_buf_size(limits::HEAD_BYTES)
        .serve_connection(TokioIo::new(Tracked { stream, ahead, signs: Arc::clone(&signs) }), service);
    let mut patience = Patience::new();
    let mut raised = pin!(stop.changed());
    raised.as_mut().enable();
    let mut registered = false;
    let mut draining = false;
    let end = poll_fn(|context| {
        // Our waker never changes: once registered, only the level needs a look.
        if !registered {
            registered = true;
            let _woken = raised.as_mut().poll(context);
        }
        if !draining && stop.level() >= Level::Drain {
            draining = true;
            Connection::graceful_shutdown(Pin::new(&mut connection));
            raised.set(stop.changed());
            let _woken = raised.as_mut().poll(context);
        }
        if stop.level() == Level::Now || Pin::new(&mut connection).poll(context).is_ready() {
            return Poll::Ready(End::Over);
        }
        if signs.phase() == Phase::Service && !signs.stuck() {
            let leave = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(leave) = leave {
                return Poll::Ready(End::Taken(leave));
            }
        }
        patience.poll(&signs, context)
    })
    .await;
    if matches!(end, End::Over) {
        return Turn::Over;
    }
    let parts = connection.into_parts();
    let Tracked { stream, ahead, .. } = parts.io.into_inner();
    let ahead = join(parts.read_buf, ahead);
    match end {
        End::Over => Turn::Over,
        End::Rest => {
            Turn::Rest { line: Box::new(Line { stream, ahead, rest }), was_quiet: signs.written() == 0 }
        }
        End::Taken(Taken::Follow(followed)) => Turn::Follow(Box::new(Line { stream, ahead, rest }), followed),
        End::Taken(Taken::Upgrade(head, take)) => {
            upgrade(stream, ahead, &head, take, &stop).await;
            Turn::Over
        }
    }
}

/// What hyper has read, and what it has not yet taken of that which was read before it.
fn join(read: Bytes, ahead: Bytes) -> Bytes {
    if ahead.is_empty() {
        return read;
    }
    [read, ahead].concat().into()
}

/// Why hyper's turn ends.
enum End<C> {
    Over,
    Rest,
    Taken(Taken<C>),
}

/// The deadlines of a connection. A request that came in one piece sets none: the one timer is left running and
/// looked at when it fires.
struct Patience {
    waits_for: WaitsFor,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    Request { written: u64 },
    Head,
    Reader { written: u64 },
    Service,
}

impl Patience {
    fn new() -> Patience {
        let rest = Instant::now() + limits::REST_TIME;
        Patience { waits_for: WaitsFor::Service, timer: Box::pin(sleep_until(rest)) }
    }

    /// Ready when the client had its time: to send its head, to read, or to ask for anything.
    fn poll<C>(&mut self, signs: &Signs, context: &mut Context<'_>) -> Poll<End<C>> {
        let now = if signs.stuck() {
            WaitsFor::Reader { written: signs.written() }
        } else {
            match signs.phase() {
                Phase::Idle => WaitsFor::Request { written: signs.written() },
                Phase::Head => WaitsFor::Head,
                Phase::Service => WaitsFor::Service,
            }
        };
        let rests = |waits_for| matches!(waits_for, WaitsFor::Request { .. } | WaitsFor::Service);
        let before = self.waits_for;
        // Only what has a deadline of its own moves the timer; requests and answers in turn leave it as it is.
        if now != before && !(rests(now) && rests(before)) {
            self.waits_for = now;
            self.restart();
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if now == self.waits_for {
                match now {
                    WaitsFor::Request { .. } => return Poll::Ready(End::Rest),
                    WaitsFor::Head | WaitsFor::Reader { .. } => return Poll::Ready(End::Over),
                    WaitsFor::Service => {}
                }
            }
            self.waits_for = now;
            self.restart();
        }
        Poll::Pending
    }

    fn restart(&mut self) {
        let time = match self.waits_for {
            WaitsFor::Request { .. } | WaitsFor::Service => limits::REST_TIME,
            WaitsFor::Head => limits::HEAD_TIME,
            WaitsFor::Reader { .. } => limits::WRITE_TIME,
        };
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
