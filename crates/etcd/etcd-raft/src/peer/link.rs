//! The dialing side of a peer connection: pipelined requests over one stream, which is reconnected when it fails. A
//! request is never sent twice: retries are up to the caller.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::frame::{put_frame, take_frame};
use super::handshake::{DISK_RECORDS_VERSION, HandshakeError, Hello, Welcome, send_hello};
use super::link_timing::LinkTiming;
use super::message;
use super::network::{BoxedStream, Network, Target};
use crate::limits::{DIAL_TIMEOUT, MAX_PINGS_IN_FLIGHT, PEER_QUEUE, REDIAL_BACKOFF};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not sent.
    #[error("the member cannot be reached")]
    Unreachable,
    /// Possibly sent; there will be no response.
    #[error("the connection to the member broke")]
    Lost,
    #[error("the member did not respond in time")]
    TimedOut,
    #[error("the member could not handle the request")]
    Failed,
}

/// The policy and the observer of a link.
pub trait LinkHandler: Send + Sync + 'static {
    fn hello(&self, to: u64) -> Hello;
    /// Called before anything is sent. On an error the connection is not used.
    fn verify(&self, from: u64, welcome: Welcome) -> std::io::Result<()>;
    /// Called periodically, because the recorded disks may change.
    fn is_disk_accepted(&self, from: u64, disk: u128) -> bool;
    /// A ping was answered after `round_trip`.
    fn pong(&self, from: u64, round_trip: Duration, contents: &[u8]);
    fn rejected(&self, by: u64, error: &HandshakeError);
}

/// The priority of a connection. Leader election must not wait behind megabytes of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Heartbeats, votes, read indexes. Its pongs report the member's state and the round-trip time.
    Urgent,
    /// Log entries, proposals, snapshots.
    Bulk,
}

struct Request {
    kind: u8,
    contents: Bytes,
    response: oneshot::Sender<Result<Bytes, LinkError>>,
}

/// A handle. The connection is closed when the last one is dropped.
#[derive(Clone)]
pub struct Link {
    queue: mpsc::Sender<Request>,
    connected: Arc<AtomicBool>,
    target: Arc<Mutex<Target>>,
}

pub type PendingResponse = oneshot::Receiver<Result<Bytes, LinkError>>;

impl Link {
    pub fn open(
        target: Target,
        lane: Lane,
        network: Arc<dyn Network>,
        handler: Arc<dyn LinkHandler>,
        timing: LinkTiming,
    ) -> Self {
        let (queue, requests) = mpsc::channel(PEER_QUEUE);
        let connected = Arc::new(AtomicBool::new(false));
        let target = Arc::new(Mutex::new(target));
        let task = LinkTask {
            requests,
            connected: Arc::clone(&connected),
            target: Arc::clone(&target),
            lane,
            network,
            handler,
            timing,
        };
        tokio::spawn(task.run());
        Self { queue, connected, target }
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Changes the URLs of the next connection.
    pub fn redirect(&self, peer_urls: &[String]) {
        let mut target = self.target.lock();
        if target.peer_urls != peer_urls {
            target.peer_urls = peer_urls.to_vec();
        }
    }

    /// Enqueues a request in order and returns its pending response.
    pub async fn send(&self, kind: u8, contents: Bytes) -> Result<PendingResponse, LinkError> {
        let (response, receiver) = oneshot::channel();
        let request = Request { kind, contents, response };
        self.queue.send(request).await.map_err(|_| LinkError::Unreachable)?;
        Ok(receiver)
    }

    pub async fn call(&self, kind: u8, contents: Bytes, limit: Duration) -> Result<Bytes, LinkError> {
        let called = async {
            let response = self.send(kind, contents).await?;
            response.await.unwrap_or(Err(LinkError::Lost))
        };
        tokio::time::timeout(limit, called).await.unwrap_or(Err(LinkError::TimedOut))
    }
}

/// Owns the connection and its pending requests.
struct LinkTask {
    requests: mpsc::Receiver<Request>,
    connected: Arc<AtomicBool>,
    target: Arc<Mutex<Target>>,
    lane: Lane,
    network: Arc<dyn Network>,
    handler: Arc<dyn LinkHandler>,
    timing: LinkTiming,
}

impl LinkTask {
    async fn run(mut self) {
        let mut pause = REDIAL_BACKOFF.0;
        // Changes are logged with etcd's messages, and only once: a member may be unreachable for days.
        let mut active = None;
        while !self.requests.is_closed() {
            let member = self.target.lock().member_id;
            match self.connect().await {
                Ok((stream, disk)) => {
                    pause = REDIAL_BACKOFF.0;
                    if active.replace(true) != Some(true) && self.lane == Lane::Urgent {
                        tracing::info!("peer {member:x} became active");
                    }
                    self.connected.store(true, Ordering::Relaxed);
                    self.run_connection(stream, disk).await;
                    self.connected.store(false, Ordering::Relaxed);
                }
                Err(error) => {
                    if active.replace(false) != Some(false) {
                        let cause = service::error::chain(&error);
                        match self.lane {
                            Lane::Urgent => tracing::warn!("peer {member:x} became inactive: {cause}"),
                            Lane::Bulk => tracing::debug!("peer {member:x} takes no log entries: {cause}"),
                        }
                    }
                    self.fail_requests_for(pause).await;
                    pause = (pause * 2).min(REDIAL_BACKOFF.1);
                }
            }
        }
    }

    /// Returns the connection and the peer's disk.
    async fn connect(&self) -> Result<(BoxedStream, u128), HandshakeError> {
        let target = self.target.lock().clone();
        let member = target.member_id;
        let connecting = async {
            let mut stream = self.network.dial(target).await?;
            let welcome = send_hello(&mut *stream, &self.handler.hello(member)).await?;
            if let Err(error) = self.handler.verify(member, welcome) {
                // A member that lost its disk may know no other member to ask.
                if welcome.version >= DISK_RECORDS_VERSION {
                    let mut out = BytesMut::new();
                    put_frame(&mut out, message::DISK_REJECTED, 1, &message::disk_rejected(welcome.disk));
                    stream.write_all(&out).await?;
                    stream.shutdown().await?;
                }
                return Err(error.into());
            }
            Ok((stream, welcome.disk))
        };
        let result = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
            Ok(result) => result,
            Err(_) => Err(HandshakeError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        if let Err(error) = &result {
            self.handler.rejected(member, error);
        }
        result
    }

    /// Fails requests immediately while the member is unreachable.
    async fn fail_requests_for(&mut self, pause: Duration) {
        let waiting = tokio::time::sleep(pause);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                () = &mut waiting => return,
                request = self.requests.recv() => match request {
                    Some(request) => reply(request.response, Err(LinkError::Unreachable)),
                    None => return,
                },
            }
        }
    }

    async fn run_connection(&mut self, stream: BoxedStream, disk: u128) {
        let (read, write) = tokio::io::split(stream);
        let pending = Arc::new(Pending::default());
        let member = self.target.lock().member_id;
        let handler = (self.lane == Lane::Urgent).then(|| Arc::clone(&self.handler));
        let reader = ResponseReader { pending: Arc::clone(&pending), handler, member };
        let mut reading = tokio::spawn(read_loop(read, reader));
        tokio::select! {
            _ = &mut reading => {}
            () = self.write_loop(write, &pending, (member, disk)) => reading.abort(),
        }
        pending.fail_all();
    }

    async fn write_loop(&mut self, mut write: WriteHalf<BoxedStream>, pending: &Pending, peer: (u64, u128)) {
        let mut out = BytesMut::new();
        let mut requests = Vec::new();
        let mut number = 0;
        // Once now: a pong reports the member's state.
        let ping = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(ping);
        loop {
            tokio::select! {
                biased;
                count = self.requests.recv_many(&mut requests, PEER_QUEUE) => {
                    if count == 0 {
                        return;
                    }
                }
                () = &mut ping => {
                    ping.as_mut().reset(self.timing.ticks.next(self.timing.ping_interval));
                    if pending.idle_for() > self.timing.silence_timeout
                        || !self.handler.is_disk_accepted(peer.0, peer.1)
                    {
                        return;
                    }
                    number += 1;
                    pending.ping_sent(number);
                    put_frame(&mut out, message::PING, number, &[]);
                }
            }
            for request in requests.drain(..) {
                number += 1;
                pending.add(number, request.response);
                put_frame(&mut out, request.kind, number, &request.contents);
            }
            if !self.write(&mut write, &out, pending).await {
                return;
            }
            out.clear();
        }
    }

    /// Returns false if the connection failed or made no progress for [`LinkTiming::silence_timeout`]. TCP's
    /// retransmission backoff could otherwise block it for minutes after a partition has healed.
    async fn write(&self, write: &mut WriteHalf<BoxedStream>, mut out: &[u8], pending: &Pending) -> bool {
        while !out.is_empty() {
            let taken = match write.write(out).now_or_never() {
                Some(taken) => taken,
                None => match tokio::time::timeout(self.timing.silence_timeout, write.write(out)).await {
                    Ok(taken) => {
                        // Pings wait behind a long message, so its progress counts as activity.
                        pending.note_activity();
                        taken
                    }
                    Err(_) => return false,
                },
            };
            match taken {
                Ok(0) | Err(_) => return false,
                Ok(taken) => out = &out[taken..],
            }
        }
        matches!(tokio::time::timeout(self.timing.silence_timeout, write.flush()).await, Ok(Ok(())))
    }
}

fn reply(response: oneshot::Sender<Result<Bytes, LinkError>>, result: Result<Bytes, LinkError>) {
    // The caller may have given up.
    response.send(result).ok();
}

struct Pending {
    responses: Mutex<HashMap<u64, oneshot::Sender<Result<Bytes, LinkError>>>>,
    last_seen: Mutex<Instant>,
    /// Unanswered pings in order.
    pings: Mutex<VecDeque<(u64, Instant)>>,
}

impl Default for Pending {
    fn default() -> Self {
        Self { responses: Mutex::default(), last_seen: Mutex::new(Instant::now()), pings: Mutex::default() }
    }
}

impl Pending {
    fn add(&self, number: u64, response: oneshot::Sender<Result<Bytes, LinkError>>) {
        self.responses.lock().insert(number, response);
    }

    fn ping_sent(&self, number: u64) {
        let mut pings = self.pings.lock();
        if pings.len() < MAX_PINGS_IN_FLIGHT {
            pings.push_back((number, Instant::now()));
        }
    }

    /// The round-trip time of a ping; `None` if it was not measured.
    fn ping_answered(&self, number: u64) -> Option<Duration> {
        let mut pings = self.pings.lock();
        let at = pings.iter().position(|(ping, _)| *ping == number)?;
        pings.remove(at).map(|(_, sent)| sent.elapsed())
    }

    fn note_activity(&self) {
        *self.last_seen.lock() = Instant::now();
    }

    fn idle_for(&self) -> Duration {
        self.last_seen.lock().elapsed()
    }

    fn complete(&self, number: u64, result: Result<Bytes, LinkError>) {
        let response = self.responses.lock().remove(&number);
        if let Some(response) = response {
            reply(response, result);
        }
    }

    fn fail_all(&self) {
        let lost = std::mem::take(&mut *self.responses.lock());
        for response in lost.into_values() {
            reply(response, Err(LinkError::Lost));
        }
    }
}

struct ResponseReader {
    pending: Arc<Pending>,
    /// Receives the pongs; `None` on the bulk link.
    handler: Option<Arc<dyn LinkHandler>>,
    member: u64,
}

async fn read_loop(mut read: ReadHalf<BoxedStream>, reader: ResponseReader) {
    let ResponseReader { pending, handler, member } = reader;
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        loop {
            match take_frame(&mut buffer) {
                Ok(Some(frame)) if frame.kind == message::FAILED => {
                    // The caller handles the error, usually by a retry.
                    tracing::debug!(
                        reason = %String::from_utf8_lossy(&frame.contents),
                        "a member could not handle a request"
                    );
                    pending.complete(frame.number, Err(LinkError::Failed));
                }
                Ok(Some(frame)) if frame.kind == (message::PING | message::RESPONSE) => {
                    if let Some(round_trip) = pending.ping_answered(frame.number)
                        && let Some(handler) = &handler
                    {
                        handler.pong(member, round_trip, &frame.contents);
                    }
                }
                Ok(Some(frame)) => pending.complete(frame.number, Ok(frame.contents)),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "a peer connection is closed");
                    return;
                }
            }
        }
        match read.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => pending.note_activity(),
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
