//! The simulated network: connections with delays, one-way partitions and machines that disappear. Bytes of one
//! connection are neither reordered nor changed, as with TCP and the peer protocol's checksums.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use etcd_raft::{BoxedStream, Dialing, Member, Network, Target};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::stream::StreamEnd;
use super::trace::Trace;

/// Bytes in flight after which a writer waits.
const WINDOW: usize = 1 << 20;
/// The window with limited bandwidth: Linux queues little per connection, so that others get their turn.
const NARROW_WINDOW: usize = 128 << 10;
/// Bytes that a connection sends per turn with limited bandwidth.
const SEND_BYTES: usize = 16 << 10;

/// The conditions of all connections, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct NetworkConditions {
    pub shortest: u64,
    pub longest: u64,
    /// One packet in this many is lost, and arrives after a retransmission.
    pub lost: u64,
    pub again: u64,
    /// Bytes that a machine can send per millisecond on all connections together.
    pub bandwidth: Option<u64>,
}

pub const NORMAL: NetworkConditions =
    NetworkConditions { shortest: 0, longest: 2, lost: 5_000, again: 250, bandwidth: None };
/// For phases that a delayed packet would spoil.
pub const LOSSLESS: NetworkConditions = NetworkConditions { lost: u64::MAX, ..NORMAL };

/// A running member.
#[derive(Clone)]
pub struct Endpoint {
    pub member: Member,
    pub runtime: Handle,
}

pub struct SimulatedNetwork {
    state: Mutex<State>,
    trace: Arc<Trace>,
}

struct State {
    random: Rng,
    conditions: NetworkConditions,
    /// Pairs whose first member cannot reach the second.
    stopped: BTreeSet<(u64, u64)>,
    endpoints: BTreeMap<u64, Endpoint>,
    /// Machines without power, which do not even refuse connections.
    powered_off: BTreeSet<u64>,
    dials: Vec<Dial>,
    pipes: BTreeMap<u64, Pipe>,
    /// When each machine has sent its queue, in microseconds.
    busy_until: BTreeMap<u64, u64>,
    next: u64,
}

struct Dial {
    due: u64,
    from: u64,
    to: u64,
    answer: oneshot::Sender<io::Result<BoxedStream>>,
}

/// One direction of a connection. The number of the other direction differs in the last bit.
struct Pipe {
    from: u64,
    to: u64,
    /// Packets in flight with their arrival times. An empty packet is the end of the stream.
    packets: VecDeque<(u64, Bytes)>,
    sent: usize,
    arrived: BytesMut,
    ended: bool,
    /// The reader has closed its end.
    reader_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Actions for after the state is unlocked, because they may use it.
#[derive(Default)]
struct Deferred {
    wake: Vec<Waker>,
    answer: Vec<(oneshot::Sender<io::Result<BoxedStream>>, io::Result<BoxedStream>)>,
    serve: Vec<(Endpoint, StreamEnd)>,
}

impl Deferred {
    fn run(self) {
        self.wake.into_iter().for_each(Waker::wake);
        for (endpoint, end) in self.serve {
            let Endpoint { member, runtime } = endpoint;
            runtime.spawn(async move { member.serve_peer(Box::new(end)).await.ok() });
        }
        for (answer, stream) in self.answer {
            // The caller may have given up.
            answer.send(stream).ok();
        }
    }
}

impl SimulatedNetwork {
    pub fn new(random: Rng, trace: Arc<Trace>) -> Arc<Self> {
        let state = State {
            random,
            conditions: NORMAL,
            stopped: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            powered_off: BTreeSet::new(),
            dials: Vec::new(),
            pipes: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            next: 0,
        };
        Arc::new(Self { state: Mutex::new(state), trace })
    }

    pub fn network(self: &Arc<Self>, from: u64) -> Arc<dyn Network> {
        Arc::new(Dialer { from, network: Arc::clone(self) })
    }

    pub fn endpoint(&self, id: u64) -> Option<Endpoint> {
        self.state.lock().endpoints.get(&id).cloned()
    }

    pub fn attach(&self, id: u64, endpoint: Endpoint) {
        let mut state = self.state.lock();
        state.powered_off.remove(&id);
        state.endpoints.insert(id, endpoint);
    }

    /// `powered_off`: the machine has lost power and closes nothing.
    pub fn detach(&self, id: u64, powered_off: bool) {
        let mut state = self.state.lock();
        let gone = state.endpoints.remove(&id);
        if powered_off {
            state.powered_off.insert(id);
        }
        drop(state);
        drop(gone);
    }

    pub fn set_conditions(&self, conditions: NetworkConditions) {
        self.state.lock().conditions = conditions;
    }

    pub fn stop(&self, from: u64, to: u64) {
        self.state.lock().stopped.insert((from, to));
    }

    pub fn heal(&self) {
        self.state.lock().stopped.clear();
    }

    /// Resets all connections between two members and drops their data.
    pub fn reset(&self, one: u64, other: u64) {
        let mut deferred = Deferred::default();
        let mut state = self.state.lock();
        let between =
            |pipe: &Pipe| (pipe.from, pipe.to) == (one, other) || (pipe.from, pipe.to) == (other, one);
        let numbers = state.pipes.iter().filter(|(_, pipe)| between(pipe)).map(|(number, _)| *number);
        for number in numbers.collect::<Vec<_>>() {
            state.break_pipe(number, &mut deferred);
        }
        drop(state);
        deferred.run();
    }

    /// Delivers everything that is due.
    pub fn tick(self: &Arc<Self>) {
        let now = self.trace.moments.millis();
        let mut deferred = Deferred::default();
        let mut state = self.state.lock();
        state.deliver(now, &mut deferred, &self.trace);
        state.connect(now, &mut deferred, self);
        drop(state);
        deferred.run();
    }

    pub fn take(&self, pipe: u64, most: usize, context: &Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut state = self.state.lock();
        let Some(pipe) = state.pipes.get_mut(&pipe) else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        };
        if pipe.arrived.is_empty() && !pipe.ended {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = pipe.arrived.len().min(most);
        Poll::Ready(Ok(pipe.arrived.split_to(count).freeze()))
    }

    pub fn put(&self, number: u64, bytes: &[u8], context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        let now = self.trace.moments.millis();
        let delay = state.delay();
        let State { pipes, busy_until, conditions, .. } = &mut *state;
        let Some(pipe) = pipes.get_mut(&number) else {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        };
        let window = if conditions.bandwidth.is_some() { NARROW_WINDOW } else { WINDOW };
        if pipe.sent >= window {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (mut bytes, mut sent) = (bytes, now);
        if let Some(bandwidth) = conditions.bandwidth {
            bytes = &bytes[..bytes.len().min(SEND_BYTES)];
            let busy = busy_until.entry(pipe.from).or_default();
            *busy = (*busy).max(now * 1_000) + bytes.len() as u64 * 1_000 / bandwidth;
            sent = *busy / 1_000;
        }
        let due = pipe.packets.back().map_or(0, |(due, _)| *due).max(sent + delay);
        pipe.sent += bytes.len();
        pipe.packets.push_back((due, Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    /// An end of a connection was dropped at `host`.
    pub fn close(&self, host: u64, reads: u64, writes: u64) {
        let mut state = self.state.lock();
        let now = self.trace.moments.millis();
        let delay = state.delay();
        if let Some(pipe) = state.pipes.get_mut(&reads) {
            pipe.reader_closed = true;
        }
        let powered_off = state.powered_off.contains(&host);
        if let Some(pipe) = state.pipes.get_mut(&writes)
            && !powered_off
        {
            let due = pipe.packets.back().map_or(0, |(due, _)| *due).max(now + delay);
            pipe.packets.push_back((due, Bytes::new()));
        }
    }
}

impl State {
    fn delay(&mut self) -> u64 {
        let conditions = self.conditions;
        let delay = self.random.u64(conditions.shortest..=conditions.longest);
        let lost = self.random.u64(0..conditions.lost) == 0;
        if lost { delay + self.random.u64(conditions.again / 2..=conditions.again * 2) } else { delay }
    }

    fn break_pipe(&mut self, number: u64, deferred: &mut Deferred) {
        for number in [number, number ^ 1] {
            let Some(pipe) = self.pipes.remove(&number) else { continue };
            deferred.wake.extend(pipe.reader);
            deferred.wake.extend(pipe.writer);
        }
    }

    fn deliver(&mut self, now: u64, deferred: &mut Deferred, trace: &Trace) {
        let mut broken = Vec::new();
        let Self { pipes, stopped, powered_off, .. } = self;
        for (number, pipe) in pipes.iter_mut() {
            if stopped.contains(&(pipe.from, pipe.to)) {
                continue;
            }
            while pipe.packets.front().is_some_and(|(due, _)| *due <= now) {
                let Some((_, bytes)) = pipe.packets.pop_front() else { break };
                let (from, to, count) = (pipe.from, pipe.to, bytes.len());
                trace.note(format_args!("{from}->{to} #{number} {count} {:08x}", crc32c::crc32c(&bytes)));
                pipe.sent -= count;
                deferred.wake.extend(pipe.writer.take());
                if powered_off.contains(&pipe.to) {
                    continue;
                }
                if pipe.reader_closed {
                    // The peer of a closed or forgotten connection receives a reset.
                    broken.push(*number);
                    break;
                }
                pipe.ended |= bytes.is_empty();
                pipe.arrived.extend_from_slice(&bytes);
                deferred.wake.extend(pipe.reader.take());
            }
        }
        for number in broken {
            self.break_pipe(number, deferred);
        }
        // Both ends are closed, and have been notified.
        self.pipes.retain(|_, pipe| !(pipe.reader_closed && pipe.ended));
    }

    fn connect(&mut self, now: u64, deferred: &mut Deferred, network: &Arc<SimulatedNetwork>) {
        for dial in std::mem::take(&mut self.dials) {
            let (from, to) = (dial.from, dial.to);
            let open = !self.stopped.contains(&(from, to)) && !self.stopped.contains(&(to, from));
            if dial.answer.is_closed() {
                continue;
            }
            if dial.due > now || !open || self.powered_off.contains(&to) {
                self.dials.push(dial);
                continue;
            }
            let Some(endpoint) = self.endpoints.get(&to) else {
                deferred.answer.push((dial.answer, Err(ErrorKind::ConnectionRefused.into())));
                continue;
            };
            let first = self.next;
            self.next += 2;
            for (number, from, to) in [(first, from, to), (first + 1, to, from)] {
                self.pipes.insert(number, Pipe::new(from, to));
            }
            let end = |host, reads, writes| StreamEnd { network: Arc::clone(network), host, reads, writes };
            deferred.serve.push((endpoint.clone(), end(to, first, first + 1)));
            deferred.answer.push((dial.answer, Ok(Box::new(end(from, first + 1, first)))));
        }
    }
}

impl Pipe {
    fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            packets: VecDeque::new(),
            sent: 0,
            arrived: BytesMut::new(),
            ended: false,
            reader_closed: false,
            reader: None,
            writer: None,
        }
    }
}

/// The network of one member.
struct Dialer {
    from: u64,
    network: Arc<SimulatedNetwork>,
}

impl Network for Dialer {
    fn dial(&self, target: Target) -> Dialing {
        let (answer, done) = oneshot::channel();
        let mut state = self.network.state.lock();
        let due = self.network.trace.moments.millis() + state.delay();
        state.dials.push(Dial { due, from: self.from, to: target.member_id, answer });
        Box::pin(async move { done.await.map_err(io::Error::other)? })
    }
}
