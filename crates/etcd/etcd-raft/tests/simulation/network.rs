//! The network between members: connections whose bytes come late, but in order; ways that are
//! stopped in one direction; machines that are gone without a word. It must never reorder or change
//! what is on one connection: TCP and the members' checksums see to that.

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

use super::stream::End;
use super::trace::Trace;

/// Beyond this, a writer waits until something arrived.
const WINDOW: usize = 1 << 20;
/// The same where the bandwidth is limited: Linux queues little of each connection, so that others get their turn.
const NARROW_WINDOW: usize = 128 << 10;
/// Bytes that a connection sends at once there.
const TURN: usize = 16 << 10;

/// What holds for all that is sent, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub shortest: u64,
    pub longest: u64,
    /// One parcel in so many is lost, and comes when it was sent again.
    pub lost: u64,
    pub again: u64,
    /// Bytes that a machine can send in a millisecond, to all others together.
    pub bandwidth: Option<u64>,
}

pub const FAIR: Weather = Weather { shortest: 0, longest: 2, lost: 5_000, again: 250, bandwidth: None };
/// For what a parcel that comes late would spoil.
pub const LOSSLESS: Weather = Weather { lost: u64::MAX, ..FAIR };

/// What is called at a member's machine.
#[derive(Clone)]
pub struct Place {
    pub member: Member,
    pub runtime: Handle,
}

pub struct Wires {
    state: Mutex<State>,
    trace: Arc<Trace>,
}

struct State {
    random: Rng,
    weather: Weather,
    /// Nothing that the first sends reaches the second.
    stopped: BTreeSet<(u64, u64)>,
    places: BTreeMap<u64, Place>,
    /// Machines without power: they do not even say that nobody listens.
    dark: BTreeSet<u64>,
    dials: Vec<Dial>,
    ways: BTreeMap<u64, Way>,
    /// When each machine has sent what it was given, in microseconds.
    busy_until: BTreeMap<u64, u64>,
    next: u64,
}

struct Dial {
    due: u64,
    from: u64,
    to: u64,
    answer: oneshot::Sender<io::Result<BoxedStream>>,
}

/// One direction of a connection; the other one's number differs in the last bit.
struct Way {
    from: u64,
    to: u64,
    /// What is on its way; nothing in a parcel is the end.
    parcels: VecDeque<(u64, Bytes)>,
    sent: usize,
    arrived: BytesMut,
    ended: bool,
    /// Nobody reads any more.
    abandoned: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What is done when the state is not locked any more: it may come back to it.
#[derive(Default)]
struct Later {
    wake: Vec<Waker>,
    answer: Vec<(oneshot::Sender<io::Result<BoxedStream>>, io::Result<BoxedStream>)>,
    serve: Vec<(Place, End)>,
}

impl Later {
    fn happens(self) {
        self.wake.into_iter().for_each(Waker::wake);
        for (place, end) in self.serve {
            let Place { member, runtime } = place;
            runtime.spawn(async move { member.serve_peer(Box::new(end)).await.ok() });
        }
        for (answer, stream) in self.answer {
            // Who dialed may not wait any more.
            answer.send(stream).ok();
        }
    }
}

impl Wires {
    pub fn new(random: Rng, trace: Arc<Trace>) -> Arc<Self> {
        let state = State {
            random,
            weather: FAIR,
            stopped: BTreeSet::new(),
            places: BTreeMap::new(),
            dark: BTreeSet::new(),
            dials: Vec::new(),
            ways: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            next: 0,
        };
        Arc::new(Self { state: Mutex::new(state), trace })
    }

    pub fn network(self: &Arc<Self>, from: u64) -> Arc<dyn Network> {
        Arc::new(Wire { from, wires: Arc::clone(self) })
    }

    pub fn place(&self, id: u64) -> Option<Place> {
        self.state.lock().places.get(&id).cloned()
    }

    pub fn attach(&self, id: u64, place: Place) {
        let mut state = self.state.lock();
        state.dark.remove(&id);
        state.places.insert(id, place);
    }

    /// `dark`: the machine is without power, and closes nothing.
    pub fn detach(&self, id: u64, dark: bool) {
        let mut state = self.state.lock();
        let gone = state.places.remove(&id);
        if dark {
            state.dark.insert(id);
        }
        drop(state);
        drop(gone);
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    pub fn stop(&self, from: u64, to: u64) {
        self.state.lock().stopped.insert((from, to));
    }

    pub fn heal(&self) {
        self.state.lock().stopped.clear();
    }

    /// Breaks all connections between two members, with what is on them.
    pub fn reset(&self, one: u64, other: u64) {
        let mut later = Later::default();
        let mut state = self.state.lock();
        let between = |way: &Way| (way.from, way.to) == (one, other) || (way.from, way.to) == (other, one);
        let numbers = state.ways.iter().filter(|(_, way)| between(way)).map(|(number, _)| *number);
        for number in numbers.collect::<Vec<_>>() {
            state.break_way(number, &mut later);
        }
        drop(state);
        later.happens();
    }

    /// Brings what is due.
    pub fn tick(self: &Arc<Self>) {
        let now = self.trace.moments.millis();
        let mut later = Later::default();
        let mut state = self.state.lock();
        state.bring(now, &mut later, &self.trace);
        state.connect(now, &mut later, self);
        drop(state);
        later.happens();
    }

    pub fn take(&self, way: u64, most: usize, context: &Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut state = self.state.lock();
        let Some(way) = state.ways.get_mut(&way) else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        };
        if way.arrived.is_empty() && !way.ended {
            way.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = way.arrived.len().min(most);
        Poll::Ready(Ok(way.arrived.split_to(count).freeze()))
    }

    pub fn put(&self, number: u64, bytes: &[u8], context: &Context<'_>) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock();
        let now = self.trace.moments.millis();
        let delay = state.delay();
        let State { ways, busy_until, weather, .. } = &mut *state;
        let Some(way) = ways.get_mut(&number) else {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        };
        let window = if weather.bandwidth.is_some() { NARROW_WINDOW } else { WINDOW };
        if way.sent >= window {
            way.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (mut bytes, mut sent) = (bytes, now);
        if let Some(bandwidth) = weather.bandwidth {
            bytes = &bytes[..bytes.len().min(TURN)];
            let busy = busy_until.entry(way.from).or_default();
            *busy = (*busy).max(now * 1_000) + bytes.len() as u64 * 1_000 / bandwidth;
            sent = *busy / 1_000;
        }
        let due = way.parcels.back().map_or(0, |(due, _)| *due).max(sent + delay);
        way.sent += bytes.len();
        way.parcels.push_back((due, Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    /// An end of a connection was dropped at `host`.
    pub fn close(&self, host: u64, reads: u64, writes: u64) {
        let mut state = self.state.lock();
        let now = self.trace.moments.millis();
        let delay = state.delay();
        if let Some(way) = state.ways.get_mut(&reads) {
            way.abandoned = true;
        }
        let dark = state.dark.contains(&host);
        if let Some(way) = state.ways.get_mut(&writes)
            && !dark
        {
            let due = way.parcels.back().map_or(0, |(due, _)| *due).max(now + delay);
            way.parcels.push_back((due, Bytes::new()));
        }
    }
}

impl State {
    fn delay(&mut self) -> u64 {
        let weather = self.weather;
        let delay = self.random.u64(weather.shortest..=weather.longest);
        let lost = self.random.u64(0..weather.lost) == 0;
        if lost { delay + self.random.u64(weather.again / 2..=weather.again * 2) } else { delay }
    }

    fn break_way(&mut self, number: u64, later: &mut Later) {
        for number in [number, number ^ 1] {
            let Some(way) = self.ways.remove(&number) else { continue };
            later.wake.extend(way.reader);
            later.wake.extend(way.writer);
        }
    }

    fn bring(&mut self, now: u64, later: &mut Later, trace: &Trace) {
        let mut broken = Vec::new();
        let Self { ways, stopped, dark, .. } = self;
        for (number, way) in ways.iter_mut() {
            if stopped.contains(&(way.from, way.to)) {
                continue;
            }
            while way.parcels.front().is_some_and(|(due, _)| *due <= now) {
                let Some((_, bytes)) = way.parcels.pop_front() else { break };
                let (from, to, count) = (way.from, way.to, bytes.len());
                trace.note(format_args!("{from}->{to} #{number} {count} {:08x}", crc32c::crc32c(&bytes)));
                way.sent -= count;
                later.wake.extend(way.writer.take());
                if dark.contains(&way.to) {
                    continue;
                }
                if way.abandoned {
                    // Who has closed, or forgotten, the connection says so to whoever still uses it.
                    broken.push(*number);
                    break;
                }
                way.ended |= bytes.is_empty();
                way.arrived.extend_from_slice(&bytes);
                later.wake.extend(way.reader.take());
            }
        }
        for number in broken {
            self.break_way(number, later);
        }
        // Both ends are gone, and said so to each other.
        self.ways.retain(|_, way| !(way.abandoned && way.ended));
    }

    fn connect(&mut self, now: u64, later: &mut Later, wires: &Arc<Wires>) {
        for dial in std::mem::take(&mut self.dials) {
            let (from, to) = (dial.from, dial.to);
            let open = !self.stopped.contains(&(from, to)) && !self.stopped.contains(&(to, from));
            if dial.answer.is_closed() {
                continue;
            }
            if dial.due > now || !open || self.dark.contains(&to) {
                self.dials.push(dial);
                continue;
            }
            let Some(place) = self.places.get(&to) else {
                later.answer.push((dial.answer, Err(ErrorKind::ConnectionRefused.into())));
                continue;
            };
            let there = self.next;
            self.next += 2;
            for (number, from, to) in [(there, from, to), (there + 1, to, from)] {
                self.ways.insert(number, Way::new(from, to));
            }
            let end = |host, reads, writes| End { wires: Arc::clone(wires), host, reads, writes };
            later.serve.push((place.clone(), end(to, there, there + 1)));
            later.answer.push((dial.answer, Ok(Box::new(end(from, there + 1, there)))));
        }
    }
}

impl Way {
    fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to,
            parcels: VecDeque::new(),
            sent: 0,
            arrived: BytesMut::new(),
            ended: false,
            abandoned: false,
            reader: None,
            writer: None,
        }
    }
}

/// The network as one member calls it.
struct Wire {
    from: u64,
    wires: Arc<Wires>,
}

impl Network for Wire {
    fn dial(&self, target: Target) -> Dialing {
        let (answer, done) = oneshot::channel();
        let mut state = self.wires.state.lock();
        let due = self.wires.trace.moments.millis() + state.delay();
        state.dials.push(Dial { due, from: self.from, to: target.member_id, answer });
        Box::pin(async move { done.await.map_err(io::Error::other)? })
    }
}
