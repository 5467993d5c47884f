//! In-memory network: hosts that are partitioned, slow, hung or powered off, and connections that survive this as TCP
//! does, or are reset.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

pub type Host = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    Clients,
    Peers,
}

/// Bytes in flight per direction of a connection.
const WINDOW: usize = 64 << 10;
/// Microseconds each way.
const FAST: Range<u64> = 50..2_000;
/// Maximum retransmission delay of TCP after a blocked path, which grows with the time it was blocked.
const MAX_RETRANSMISSION_DELAY: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    /// Notified when a path may have opened.
    changed: watch::Sender<()>,
}

struct State {
    rng: fastrand::Rng,
    /// Directed pairs of hosts without a path.
    cut: BTreeSet<(Host, Host)>,
    hosts: BTreeMap<Host, HostState>,
    listeners: BTreeMap<(Host, Port), mpsc::UnboundedSender<DuplexStream>>,
    connections: Vec<Connection>,
    /// No client reaches any member.
    clients_cut: bool,
    /// Percentage of segments to clients that break their connection.
    lossy: u32,
}

#[derive(Default)]
struct HostState {
    /// Processes are frozen; the kernel still accepts connections and data.
    frozen: bool,
    /// Powered off.
    powered_off: bool,
    slow: Option<Range<u64>>,
}

struct Connection {
    ends: [Host; 2],
    /// Data is lost and neither end gets an error.
    lost: Arc<Mutex<bool>>,
    broken: watch::Sender<bool>,
}

enum PathState {
    Open(Duration),
    Blocked,
    Broken,
}

impl Network {
    pub fn new(rng: fastrand::Rng) -> Self {
        let state = State {
            rng,
            cut: BTreeSet::new(),
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: Vec::new(),
            clients_cut: false,
            lossy: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(()) }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.send_replace(());
    }

    /// In both directions.
    pub fn set_cut(&self, one: Host, other: Host, cut: bool) {
        self.change(|state| {
            for pair in [(one, other), (other, one)] {
                if cut {
                    state.cut.insert(pair)
                } else {
                    state.cut.remove(&pair)
                };
            }
        });
    }

    /// All clients from all members.
    pub fn set_clients_cut(&self, cut: bool) {
        self.change(|state| state.clients_cut = cut);
    }

    pub fn set_hangs(&self, host: Host, frozen: bool) {
        self.change(|state| state.hosts.entry(host).or_default().frozen = frozen);
    }

    /// Milliseconds each way, to and from this host.
    pub fn set_slow(&self, host: Host, slow: Option<Range<u64>>) {
        self.change(|state| state.hosts.entry(host).or_default().slow = slow);
    }

    pub fn set_lossy(&self, of_hundred: u32) {
        self.change(|state| state.lossy = of_hundred);
    }

    /// Silently drops the state of this host's connections on the path: neither end is notified.
    pub fn lose_connections(&self, host: Host) {
        let state = self.state.lock();
        let of_host = state.connections.iter().filter(|connection| connection.ends.contains(&host));
        of_host.for_each(|connection| *connection.lost.lock() = true);
    }

    /// Power failure: peers are not notified.
    pub fn set_dark(&self, host: Host) {
        self.change(|state| {
            state.hosts.entry(host).or_default().powered_off = true;
            state.listeners.retain(|(of, _), _| *of != host);
        });
    }

    /// The processes have ended; the kernel resets their connections.
    pub fn reset(&self, host: Host) {
        self.change(|state| {
            state.hosts.remove(&host);
            state.listeners.retain(|(of, _), _| *of != host);
            state.connections.retain(|connection| {
                let stays = !connection.ends.contains(&host);
                if !stays {
                    connection.broken.send_replace(true);
                }
                stays
            });
        });
    }

    pub fn listen(&self, host: Host, port: Port) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.change(|state| drop(state.listeners.insert((host, port), sender)));
        receiver
    }

    /// Waits while there is no path.
    pub async fn connect(&self, from: Host, to: Host, port: Port) -> io::Result<DuplexStream> {
        let mut changed = self.changed.subscribe();
        let delay = loop {
            changed.borrow_and_update();
            if let Some(delay) = self.state.lock().handshake(from, to, port) {
                break delay;
            }
            // The sender lives as long as the network.
            changed.changed().await.map_err(io::Error::other)?;
        };
        sleep(delay).await;
        let ((near, near_wire), (far, far_wire)) = (duplex(WINDOW), duplex(WINDOW));
        let (lost, broken) = (Arc::new(Mutex::new(false)), watch::Sender::new(false));
        {
            let mut state = self.state.lock();
            let listener = state.listeners.get(&(to, port)).filter(|listener| !listener.is_closed());
            let Some(listener) = listener else { return Err(ErrorKind::ConnectionRefused.into()) };
            listener.send(far).map_err(|_| ErrorKind::ConnectionRefused)?;
            state.connections.retain(|connection| !*connection.broken.borrow());
            let connection = Connection { ends: [from, to], lost: Arc::clone(&lost), broken: broken.clone() };
            state.connections.push(connection);
        }
        let (near_reads, near_writes) = split(near_wire);
        let (far_reads, far_writes) = split(far_wire);
        let forwarder = |from, to| Forwarder {
            network: self.clone(),
            from,
            to,
            port,
            lost: Arc::clone(&lost),
            broken: broken.clone(),
        };
        tokio::spawn(forwarder(from, to).run(near_reads, far_writes));
        tokio::spawn(forwarder(to, from).run(far_reads, near_writes));
        Ok(near)
    }
}

impl State {
    fn is_powered_off(&self, host: Host) -> bool {
        self.hosts.get(&host).is_some_and(|host_state| host_state.powered_off)
    }

    fn delay(&mut self, from: Host, to: Host) -> Duration {
        let slow = [from, to].iter().find_map(|host| self.hosts.get(host)?.slow.clone());
        let micros = slow.map_or(FAST, |millis| millis.start * 1_000..millis.end * 1_000);
        Duration::from_micros(self.rng.u64(micros))
    }

    /// Between kernels, so that frozen processes do not matter.
    fn handshake(&mut self, from: Host, to: Host, port: Port) -> Option<Duration> {
        let cut = self.cut.contains(&(from, to))
            || self.cut.contains(&(to, from))
            || port == Port::Clients && self.clients_cut;
        let open = !cut && !self.is_powered_off(from) && !self.is_powered_off(to);
        open.then(|| self.delay(from, to))
    }

    fn path_state(&mut self, forwarder: &Forwarder) -> PathState {
        let (from, to) = (forwarder.from, forwarder.to);
        let frozen = self.hosts.get(&from).is_some_and(|host_state| host_state.frozen);
        if *forwarder.broken.borrow() {
            PathState::Broken
        } else if frozen
            || self.cut.contains(&(from, to))
            || forwarder.port == Port::Clients && self.clients_cut
            || self.is_powered_off(from)
            || self.is_powered_off(to)
            || *forwarder.lost.lock()
        {
            PathState::Blocked
        } else {
            PathState::Open(self.delay(from, to))
        }
    }

    /// Whether an arriving segment breaks its connection.
    fn drops_segment(&mut self, port: Port) -> bool {
        port == Port::Clients && self.lossy > 0 && self.rng.u32(0..100) < self.lossy
    }
}

/// One direction of a connection.
struct Forwarder {
    network: Network,
    from: Host,
    to: Host,
    port: Port,
    lost: Arc<Mutex<bool>>,
    broken: watch::Sender<bool>,
}

impl Forwarder {
    async fn run(self, mut reads: impl AsyncRead + Unpin, mut writes: impl AsyncWrite + Unpin) {
        let mut broken = self.broken.subscribe();
        tokio::select! {
            biased;
            _ = broken.wait_for(|broken| *broken) => {}
            () = self.forward(&mut reads, &mut writes) => {}
        }
    }

    async fn forward(&self, reads: &mut (impl AsyncRead + Unpin), writes: &mut (impl AsyncWrite + Unpin)) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = reads.read(&mut buffer).await.unwrap_or(0);
            self.wait_for_delivery().await;
            if self.network.state.lock().drops_segment(self.port) {
                self.broken.send_replace(true);
                return;
            }
            if count == 0 {
                // Data sent before is delivered first.
                writes.shutdown().await.ok();
                return;
            }
            if writes.write_all(&buffer[..count]).await.is_err() {
                // The other end is closed.
                self.broken.send_replace(true);
                return;
            }
        }
    }

    /// Waits until a segment has arrived; forever if the connection breaks.
    async fn wait_for_delivery(&self) {
        let mut changed = self.network.changed.subscribe();
        let mut blocked_since = None;
        loop {
            changed.borrow_and_update();
            let path = self.network.state.lock().path_state(self);
            match path {
                PathState::Open(delay) => {
                    let waited = blocked_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                    let max_delay = waited.min(MAX_RETRANSMISSION_DELAY);
                    let fraction = self.network.state.lock().rng.f64();
                    sleep(delay + max_delay.mul_f64(fraction)).await;
                    if waited.is_zero() {
                        return;
                    }
                    // The retransmission may be blocked again.
                    blocked_since = None;
                }
                PathState::Blocked => {
                    blocked_since = blocked_since.or(Some(Instant::now()));
                    if changed.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
                PathState::Broken => return std::future::pending().await,
            }
        }
    }
}
