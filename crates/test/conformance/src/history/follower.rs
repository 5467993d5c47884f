//! A watcher that continues at another member with `waitIndex` when its member fails.
//!
//! It never fills a gap by reading: an event that the watch did not deliver is missing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ledger::Written;
use crate::failure::Failure;
use crate::http::{Connection, HttpError, Request};

/// A member that is silent for this long may be down: the watcher switches to another.
const PATIENCE: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(5);
const END_LIMIT: Duration = Duration::from_secs(15);

/// An event as the watch delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    pub index: u64,
    pub key: String,
}

pub struct Follower {
    /// The index of the last expected event; 0 while unknown.
    until: Arc<AtomicU64>,
    thread: JoinHandle<Result<Vec<WatchEvent>, Failure>>,
}

impl Follower {
    /// Starts at index `since` and member `first`.
    pub fn start(addresses: &[SocketAddr], first: usize, since: u64) -> Self {
        let until = Arc::new(AtomicU64::new(0));
        let (addresses, limit) = (addresses.to_vec(), Arc::clone(&until));
        let thread = thread::spawn(move || follow(&addresses, first, since, &limit));
        Self { until, thread }
    }

    /// Waits for the event at `last`, and returns all events.
    pub fn finish(self, last: u64) -> Result<Vec<WatchEvent>, Failure> {
        self.until.store(last, Ordering::Relaxed);
        self.thread.join().map_err(|_| Failure::differs("a watcher panicked"))?
    }
}

fn follow(
    addresses: &[SocketAddr],
    mut member: usize,
    since: u64,
    until: &AtomicU64,
) -> Result<Vec<WatchEvent>, Failure> {
    let (mut events, mut next, mut connection) = (Vec::<WatchEvent>::new(), since, None);
    let mut over = None;
    loop {
        let last = until.load(Ordering::Relaxed);
        if last > 0 && next > last {
            return Ok(events);
        }
        let deadline = *over.get_or_insert_with(|| Instant::now() + END_LIMIT);
        if last == 0 {
            over = None;
        } else if Instant::now() > deadline {
            return Err(Failure::differs(format!("a watch at {next} was not told of {last}")));
        }
        let address = addresses[member % addresses.len()];
        let target = format!("/v2/keys/ledger?wait=true&recursive=true&waitIndex={next}");
        let response = wait(&mut connection, address, &Request::new("GET", target));
        let event: Value = match &response {
            Ok(response) => serde_json::from_slice(&response.body).unwrap_or_default(),
            Err(_) => Value::Null,
        };
        if event["errorCode"] == 401 {
            return Err(Failure::differs(format!("a watch at {next} came too late: {event}")));
        }
        match (event["node"]["modifiedIndex"].as_u64(), event["node"]["key"].as_str()) {
            (Some(index), Some(key)) => {
                events.push(WatchEvent { index, key: key.to_owned() });
                // Continues after an unexpected index too: the check detects it.
                next = index + 1;
            }
            _ => {
                connection = None;
                member += 1;
                thread::sleep(PAUSE);
            }
        }
    }
}

fn wait(
    kept: &mut Option<Connection>,
    address: SocketAddr,
    request: &Request,
) -> Result<crate::http::Response, HttpError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(address, PATIENCE)?,
    };
    let response = connection.exchange(request)?;
    *kept = Some(connection);
    Ok(response)
}

/// Checks that all acknowledged writes were delivered, once, in the order of their indexes.
pub fn check_events(events: &[WatchEvent], written: &[Written]) -> Result<(), Failure> {
    for pair in events.windows(2) {
        if pair[0].index >= pair[1].index {
            return Err(Failure::differs(format!("{:?} was told behind {:?}", pair[1], pair[0])));
        }
    }
    let delivered: BTreeMap<_, _> = events.iter().map(|one| (one.index, &*one.key)).collect();
    for one in written {
        if let Some(index) = one.index
            && delivered.get(&index) != Some(&&*one.key)
        {
            return Err(Failure::differs(format!(
                "{one:?} was not told; there was {:?}",
                delivered.get(&index)
            )));
        }
    }
    Ok(())
}
