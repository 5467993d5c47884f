//! A connection: served by hyper during requests, and by this crate during a watch.
//!
//! An idle connection holds no buffers of hyper, neither before its first request nor during a watch.

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

use super::handler::{Handler, NoError, Payload, Peer, Reply, UpgradeFn};
use super::stop::{Level, Stop};
use super::stream_response::{ResponseStream, StreamRequest, stream_response};
use super::tracked_stream::{ClientStream, ConnectionState, Phase, TrackedStream};
use crate::limits;

/// Why a connection is taken over from hyper.
enum Detached<C> {
    Stream(Box<StreamRequest<C>>),
    Upgrade(Response<()>, UpgradeFn),
}

struct Requests<H: Handler> {
    handler: Arc<H>,
    peer: Peer,
    state: Arc<ConnectionState>,
    detached: Arc<Mutex<Option<Detached<H::Chunks>>>>,
}

impl<H: Handler> Requests<H> {
    async fn serve(
        handler: Arc<H>,
        peer: Peer,
        state: Arc<ConnectionState>,
        detached: Arc<Mutex<Option<Detached<H::Chunks>>>>,
        request: Request<Incoming>,
    ) -> Result<Response<TrackedBody>, NoError> {
        let version = request.version();
        let keep_alive = version == Version::HTTP_11 && !asks_to_close(&request);
        let leave = match handler.handle(peer, request).await {
            Reply::Response(response) => return Ok(response.map(|payload| TrackedBody { payload, state })),
            Reply::Stream(head, chunks) => {
                Detached::Stream(Box::new(StreamRequest { head, chunks, version, keep_alive }))
            }
            Reply::Upgrade(head, take) => Detached::Upgrade(head, take),
        };
        *detached.lock().unwrap_or_else(PoisonError::into_inner) = Some(leave);
        // The driver takes over the stream when it is polled next.
        std::future::pending().await
    }
}

impl<H: Handler> Service<Request<Incoming>> for Requests<H> {
    type Response = Response<TrackedBody>;
    type Error = NoError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<TrackedBody>, NoError>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.state.set_phase(Phase::Service);
        Box::pin(Self::serve(
            Arc::clone(&self.handler),
            self.peer,
            Arc::clone(&self.state),
            Arc::clone(&self.detached),
            request,
        ))
    }
}

/// A response body that reports when hyper drops it; then the connection waits for its next request.
struct TrackedBody {
    payload: Payload,
    state: Arc<ConnectionState>,
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.state.set_phase(Phase::Idle);
    }
}

impl Body for TrackedBody {
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

/// A connection between requests. Passed in a box, since an async function stores an argument twice, and there may be
/// ten thousand of them.
pub(super) struct ClientConnection<S, H> {
    stream: S,
    /// Bytes read but not parsed.
    ahead: Bytes,
    context: ConnectionContext<H>,
}

struct ConnectionContext<H> {
    peer: Peer,
    handler: Arc<H>,
    stop: Arc<Stop>,
    /// Time of the last request, with the resolution of `IDLE_RELEASE_TIME`.
    idle_since: Instant,
    /// Released when the connection ends.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S: ClientStream, H: Handler> ClientConnection<S, H> {
    pub(super) fn new(
        stream: S,
        peer: Peer,
        handler: Arc<H>,
        stop: Arc<Stop>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Box<Self> {
        let context = ConnectionContext { peer, handler, stop, idle_since: Instant::now(), _permit: permit };
        Box::new(Self { stream, ahead: Bytes::new(), context })
    }

    /// Waits for the first byte without a buffer: an idle connection costs little more than its socket.
    async fn first_byte(&self) -> bool {
        match self.context.handler.idle_limit() {
            Some(limit) => {
                let until = self.context.idle_since + limit;
                Box::pin(timeout_at(until, self.readable())).await.unwrap_or(false)
            }
            None => self.readable().await,
        }
    }

    fn is_idle(&self) -> bool {
        self.context.handler.idle_limit().is_some_and(|limit| self.context.idle_since.elapsed() >= limit)
    }

    async fn readable(&self) -> bool {
        let mut drain = pin!(self.context.stop.reached(Level::Drain));
        poll_fn(|context| {
            if drain.as_mut().poll(context).is_ready() {
                return Poll::Ready(false);
            }
            self.stream.poll_readable(context).map(|result| result.is_ok())
        })
        .await
    }
}

enum Turn<S, H: Handler> {
    Finished,
    Stream(Box<ClientConnection<S, H>>, Box<StreamRequest<H::Chunks>>),
    /// The connection is idle: hyper's buffers are released.
    Idle {
        connection: Box<ClientConnection<S, H>>,
        /// No request was served.
        was_idle: bool,
    },
}

/// Serves a connection until it ends.
pub(super) async fn drive<S: ClientStream, H: Handler>(connection: Box<ClientConnection<S, H>>) {
    let mut connection = connection;
    loop {
        if connection.ahead.is_empty() && !connection.first_byte().await {
            return;
        }
        match Box::pin(requests(connection)).await {
            Turn::Finished => return,
            Turn::Idle { connection: returned, was_idle } => {
                connection = returned;
                if !was_idle {
                    connection.context.idle_since = Instant::now();
                } else if connection.is_idle() {
                    return;
                }
            }
            Turn::Stream(returned, stream_request) => {
                connection = returned;
                connection.context.idle_since = Instant::now();
                let ahead = std::mem::take(&mut connection.ahead);
                let (head, response) = ResponseStream::new(&ahead, *stream_request);
                drop(ahead);
                match stream_response(&mut connection.stream, head, response, &connection.context.stop).await
                {
                    Some(ahead) => connection.ahead = ahead,
                    None => return,
                }
            }
        }
    }
}

/// Sends the head and hands over the connection until the upgrade handler returns or the server stops.
async fn upgrade<S: ClientStream>(
    mut stream: S,
    ahead: Bytes,
    head: &Response<()>,
    take: UpgradeFn,
    stop: &Stop,
) {
    if let Err(error) = stream.write_all(&upgrade_head(head)).await {
        tracing::debug!(%error, "answering an upgrade");
        return;
    }
    let stream = TrackedStream { stream, ahead, state: Arc::new(ConnectionState::default()) };
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

/// Serves requests by hyper until the connection ends or is idle, or a request is streamed.
async fn requests<S: ClientStream, H: Handler>(connection: Box<ClientConnection<S, H>>) -> Turn<S, H> {
    let ClientConnection { stream, ahead, context } = *connection;
    let (stop, handler) = (Arc::clone(&context.stop), Arc::clone(&context.handler));
    let state = Arc::new(ConnectionState::default());
    let detached = Arc::new(Mutex::new(None));
    let half_close = handler.serves_half_closed();
    let service =
        Requests { handler, peer: context.peer, state: Arc::clone(&state), detached: Arc::clone(&detached) };
    let mut connection = Builder::new()
        .title_case_headers(true)
        .half_close(half_close)
        // With a queue of buffers, hyper 1.12 writes the rejection of a malformed request before the rest of the
        // previous response (`conn.rs`, `on_parse_error`). A single buffer keeps the order.
        .writev(false)
        .max_buf_size(limits::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(TrackedStream { stream, ahead, state: Arc::clone(&state) }), service);
    let mut deadlines = Deadlines::new();
    let mut raised = pin!(stop.changed());
    raised.as_mut().enable();
    let mut registered = false;
    let mut draining = false;
    let end = poll_fn(|context| {
        // The waker never changes: once registered, only the level is checked.
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
            return Poll::Ready(End::Finished);
        }
        if state.phase() == Phase::Service && !state.write_blocked() {
            let leave = detached.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(leave) = leave {
                return Poll::Ready(End::Detached(leave));
            }
        }
        deadlines.poll(&state, context)
    })
    .await;
    if matches!(end, End::Finished) {
        return Turn::Finished;
    }
    let parts = connection.into_parts();
    let TrackedStream { stream, ahead, .. } = parts.io.into_inner();
    let ahead = prepend(parts.read_buf, ahead);
    match end {
        End::Finished => Turn::Finished,
        End::Idle => Turn::Idle {
            connection: Box::new(ClientConnection { stream, ahead, context }),
            was_idle: state.written() == 0,
        },
        End::Detached(Detached::Stream(stream_request)) => {
            Turn::Stream(Box::new(ClientConnection { stream, ahead, context }), stream_request)
        }
        End::Detached(Detached::Upgrade(head, take)) => {
            upgrade(stream, ahead, &head, take, &stop).await;
            Turn::Finished
        }
    }
}

/// Prepends hyper's unparsed bytes to bytes that were read before but not passed to it.
fn prepend(read: Bytes, ahead: Bytes) -> Bytes {
    if ahead.is_empty() {
        return read;
    }
    [read, ahead].concat().into()
}

enum End<C> {
    Finished,
    Idle,
    Detached(Detached<C>),
}

/// The deadlines of a connection. The single timer keeps running and is checked when it fires.
struct Deadlines {
    waiting: Waiting,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Request { written: u64 },
    Head,
    Reader { written: u64 },
    Service,
}

impl Deadlines {
    fn new() -> Deadlines {
        let release = Instant::now() + limits::IDLE_RELEASE_TIME;
        Deadlines { waiting: Waiting::Service, timer: Box::pin(sleep_until(release)) }
    }

    /// Ready when the client's time to send a head, to read, or to send a request has elapsed.
    fn poll<C>(&mut self, state: &ConnectionState, context: &mut Context<'_>) -> Poll<End<C>> {
        let now = if state.write_blocked() {
            Waiting::Reader { written: state.written() }
        } else {
            match state.phase() {
                Phase::Idle => Waiting::Request { written: state.written() },
                Phase::Head => Waiting::Head,
                Phase::Service => Waiting::Service,
            }
        };
        let has_no_deadline = |waiting| matches!(waiting, Waiting::Request { .. } | Waiting::Service);
        let before = self.waiting;
        // Only states with a deadline reset the timer; alternating requests and responses do not.
        if now != before && !(has_no_deadline(now) && has_no_deadline(before)) {
            self.waiting = now;
            self.restart();
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if now == self.waiting {
                match now {
                    Waiting::Request { .. } => return Poll::Ready(End::Idle),
                    Waiting::Head | Waiting::Reader { .. } => return Poll::Ready(End::Finished),
                    Waiting::Service => {}
                }
            }
            self.waiting = now;
            self.restart();
        }
        Poll::Pending
    }

    fn restart(&mut self) {
        let time = match self.waiting {
            Waiting::Request { .. } | Waiting::Service => limits::IDLE_RELEASE_TIME,
            Waiting::Head => limits::HEAD_TIMEOUT,
            Waiting::Reader { .. } => limits::WRITE_TIMEOUT,
        };
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
