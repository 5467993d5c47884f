//! The calling side of a peer connection: requests with answers, several on their way, over one
//! stream that is made anew when it breaks. It must never send a request twice: whoever asks
//! decides whether that is safe.

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
use super::hello::{Hello, HelloError, VERSION_OF_DISKS, Welcome, say_hello};
use super::message;
use super::network::{BoxedStream, Network, Target};
use crate::limits::{DIAL_TIME, PEER_QUEUE, PINGS_IN_FLIGHT, REDIAL_PAUSE};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not sent: the member cannot be reached now.
    #[error("the member cannot be reached")]
    Unreachable,
    /// Sent, perhaps; the answer will not come.
    #[error("the connection to the member broke")]
    Lost,
    #[error("the member did not answer in time")]
    TimedOut,
    #[error("the member could not handle the request")]
    Failed,
}

/// What a link asks of its member: may this disk be talked to, and what to do when it is refused.
pub trait Gate: Send + Sync + 'static {
    fn hello(&self, to: u64) -> Hello;
    /// Called before anything is sent; an error keeps the connection from being used.
    fn welcome(&self, from: u64, welcome: Welcome) -> std::io::Result<()>;
    /// Asked now and then while a connection lasts: what is known of disks may have changed.
    fn still_welcome(&self, from: u64, disk: u128) -> bool;
    /// A ping was answered after `took`, with the contents `said`.
    fn pong(&self, from: u64, took: Duration, said: &[u8]);
    fn refused(&self, by: u64, error: &HelloError);
}

/// How often a quiet connection is tried, and how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub ping: Duration,
    pub silence: Duration,
}

/// What a connection is for. Nothing that decides who leads may wait behind megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Heartbeats, votes, questions: short messages. Its pongs report the member's state and the round-trip time.
    Urgent,
    /// Log entries, proposals, snapshots.
    Bulk,
}

struct Request {
    kind: u8,
    contents: Bytes,
    answer: oneshot::Sender<Result<Bytes, LinkError>>,
}

/// A handle; when the last one is dropped, the connection closes.
#[derive(Clone)]
pub struct Link {
    queue: mpsc::Sender<Request>,
    connected: Arc<AtomicBool>,
    target: Arc<Mutex<Target>>,
}

pub type Answer = oneshot::Receiver<Result<Bytes, LinkError>>;

impl Link {
    pub fn open(
        target: Target,
        lane: Lane,
        network: Arc<dyn Network>,
        gate: Arc<dyn Gate>,
        pace: Pace,
    ) -> Self {
        let (queue, requests) = mpsc::channel(PEER_QUEUE);
        let connected = Arc::new(AtomicBool::new(false));
        let target = Arc::new(Mutex::new(target));
        let keeper = Keeper {
            requests,
            connected: Arc::clone(&connected),
            target: Arc::clone(&target),
            lane,
            network,
            gate,
            pace,
        };
        tokio::spawn(keeper.run());
        Self { queue, connected, target }
    }

    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// The next connection goes there.
    pub fn redirect(&self, peer_urls: &[String]) {
        let mut target = self.target.lock();
        if target.peer_urls != peer_urls {
            target.peer_urls = peer_urls.to_vec();
        }
    }

    /// Hands a request over in order; its answer comes by itself.
    pub async fn send(&self, kind: u8, contents: Bytes) -> Result<Answer, LinkError> {
        let (answer, receiver) = oneshot::channel();
        let request = Request { kind, contents, answer };
        self.queue.send(request).await.map_err(|_| LinkError::Unreachable)?;
        Ok(receiver)
    }

    pub async fn call(&self, kind: u8, contents: Bytes, limit: Duration) -> Result<Bytes, LinkError> {
        let called = async {
            let answer = self.send(kind, contents).await?;
            answer.await.unwrap_or(Err(LinkError::Lost))
        };
        tokio::time::timeout(limit, called).await.unwrap_or(Err(LinkError::TimedOut))
    }
}

/// Owns the connection, and what waits for answers on it.
struct Keeper {
    requests: mpsc::Receiver<Request>,
    connected: Arc<AtomicBool>,
    target: Arc<Mutex<Target>>,
    lane: Lane,
    network: Arc<dyn Network>,
    gate: Arc<dyn Gate>,
    pace: Pace,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = REDIAL_PAUSE.0;
        // Told when it changes, in the original's words: a member may be away for days.
        let mut was_active = None;
        while !self.requests.is_closed() {
            let member = self.target.lock().member_id;
            match self.connect().await {
                Ok((stream, disk)) => {
                    pause = REDIAL_PAUSE.0;
                    if was_active.replace(true) != Some(true) && self.lane == Lane::Urgent {
                        tracing::info!("peer {member:x} became active");
                    }
                    self.connected.store(true, Ordering::Relaxed);
                    self.converse(stream, disk).await;
                    self.connected.store(false, Ordering::Relaxed);
                }
                Err(error) => {
                    if was_active.replace(false) != Some(false) {
                        let cause = service::error::chain(&error);
                        match self.lane {
                            Lane::Urgent => tracing::warn!("peer {member:x} became inactive: {cause}"),
                            Lane::Bulk => tracing::debug!("peer {member:x} takes no log entries: {cause}"),
                        }
                    }
                    self.refuse_for(pause).await;
                    pause = (pause * 2).min(REDIAL_PAUSE.1);
                }
            }
        }
    }

    /// The connection, and the disk at its other end.
    async fn connect(&self) -> Result<(BoxedStream, u128), HelloError> {
        let target = self.target.lock().clone();
        let member = target.member_id;
        let connecting = async {
            let mut stream = self.network.dial(target).await?;
            let welcome = say_hello(&mut *stream, &self.gate.hello(member)).await?;
            if let Err(error) = self.gate.welcome(member, welcome) {
                // Who lost its disk may know nobody whom it could ask.
                if welcome.version >= VERSION_OF_DISKS {
                    let mut out = BytesMut::new();
                    put_frame(&mut out, message::OTHER_DISK, 1, &message::other_disk(welcome.disk));
                    stream.write_all(&out).await?;
                    stream.shutdown().await?;
                }
                return Err(error.into());
            }
            Ok((stream, welcome.disk))
        };
        let result = match tokio::time::timeout(DIAL_TIME, connecting).await {
            Ok(result) => result,
            Err(_) => Err(HelloError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        if let Err(error) = &result {
            self.gate.refused(member, error);
        }
        result
    }

    /// Requests made while the member is out of reach fail at once: their time is better used.
    async fn refuse_for(&mut self, pause: Duration) {
        let waiting = tokio::time::sleep(pause);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                () = &mut waiting => return,
                request = self.requests.recv() => match request {
                    Some(request) => reply(request.answer, Err(LinkError::Unreachable)),
                    None => return,
                },
            }
        }
    }

    async fn converse(&mut self, stream: BoxedStream, disk: u128) {
        let (read, write) = tokio::io::split(stream);
        let pending = Arc::new(Pending::default());
        let member = self.target.lock().member_id;
        let gate = (self.lane == Lane::Urgent).then(|| Arc::clone(&self.gate));
        let heard = Heard { pending: Arc::clone(&pending), gate, member };
        let mut listening = tokio::spawn(listen(read, heard));
        tokio::select! {
            _ = &mut listening => {}
            () = self.talk(write, &pending, (member, disk)) => listening.abort(),
        }
        pending.lose_all();
    }

    async fn talk(&mut self, mut write: WriteHalf<BoxedStream>, pending: &Pending, with: (u64, u128)) {
        let mut out = BytesMut::new();
        let mut requests = Vec::new();
        let mut number = 0;
        let mut ping = tokio::time::interval(self.pace.ping);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                count = self.requests.recv_many(&mut requests, PEER_QUEUE) => {
                    if count == 0 {
                        return;
                    }
                }
                _ = ping.tick() => {
                    if pending.silent_for() > self.pace.silence || !self.gate.still_welcome(with.0, with.1) {
                        return;
                    }
                    number += 1;
                    pending.pinged(number);
                    put_frame(&mut out, message::PING, number, &[]);
                }
            }
            for request in requests.drain(..) {
                number += 1;
                pending.add(number, request.answer);
                put_frame(&mut out, request.kind, number, &request.contents);
            }
            if !self.write(&mut write, &out, pending).await {
                return;
            }
            out.clear();
        }
    }

    /// Writes all of it. False if the connection is broken, or makes no progress for [`Pace::silence`]: the kernel's
    /// retransmission back-off would otherwise hold it for minutes after a partition has healed.
    async fn write(&self, write: &mut WriteHalf<BoxedStream>, mut out: &[u8], pending: &Pending) -> bool {
        while !out.is_empty() {
            let taken = match write.write(out).now_or_never() {
                Some(taken) => taken,
                None => match tokio::time::timeout(self.pace.silence, write.write(out)).await {
                    Ok(taken) => {
                        // Progress of a long message, behind which pings wait, is a sign of life.
                        pending.hear();
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
        matches!(tokio::time::timeout(self.pace.silence, write.flush()).await, Ok(Ok(())))
    }
}

fn reply(answer: oneshot::Sender<Result<Bytes, LinkError>>, result: Result<Bytes, LinkError>) {
    // Who asked may have given up waiting; then nobody misses the answer.
    answer.send(result).ok();
}

struct Pending {
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Bytes, LinkError>>>>,
    heard: Mutex<Instant>,
    /// Without an answer yet, in their order.
    pings: Mutex<VecDeque<(u64, Instant)>>,
}

impl Default for Pending {
    fn default() -> Self {
        Self { answers: Mutex::default(), heard: Mutex::new(Instant::now()), pings: Mutex::default() }
    }
}

impl Pending {
    fn add(&self, number: u64, answer: oneshot::Sender<Result<Bytes, LinkError>>) {
        self.answers.lock().insert(number, answer);
    }

    fn pinged(&self, number: u64) {
        let mut pings = self.pings.lock();
        if pings.len() < PINGS_IN_FLIGHT {
            pings.push_back((number, Instant::now()));
        }
    }

    /// How long a ping took; nothing for one that was not measured.
    fn ponged(&self, number: u64) -> Option<Duration> {
        let mut pings = self.pings.lock();
        let at = pings.iter().position(|(ping, _)| *ping == number)?;
        pings.remove(at).map(|(_, sent)| sent.elapsed())
    }

    fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }

    fn silent_for(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    fn answered(&self, number: u64, result: Result<Bytes, LinkError>) {
        let answer = self.answers.lock().remove(&number);
        if let Some(answer) = answer {
            reply(answer, result);
        }
    }

    fn lose_all(&self) {
        let lost = std::mem::take(&mut *self.answers.lock());
        for answer in lost.into_values() {
            reply(answer, Err(LinkError::Lost));
        }
    }
}

/// What the listening half of a connection works on.
struct Heard {
    pending: Arc<Pending>,
    /// Receives the pongs.
    gate: Option<Arc<dyn Gate>>,
    member: u64,
}

async fn listen(mut read: ReadHalf<BoxedStream>, heard: Heard) {
    let Heard { pending, gate, member } = heard;
    let mut buffer = BytesMut::with_capacity(16 << 10);
    loop {
        loop {
            match take_frame(&mut buffer) {
                Ok(Some(frame)) if frame.kind == message::FAILED => {
                    // Who asked knows it, and what to do: as a rule it asks again.
                    tracing::debug!(
                        reason = %String::from_utf8_lossy(&frame.contents),
                        "a member could not handle a request"
                    );
                    pending.answered(frame.number, Err(LinkError::Failed));
                }
                Ok(Some(frame)) if frame.kind == (message::PING | message::ANSWER) => {
                    if let Some(took) = pending.ponged(frame.number)
                        && let Some(gate) = &gate
                    {
                        gate.pong(member, took, &frame.contents);
                    }
                }
                Ok(Some(frame)) => pending.answered(frame.number, Ok(frame.contents)),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "a peer connection is closed");
                    return;
                }
            }
        }
        match read.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => pending.hear(),
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
