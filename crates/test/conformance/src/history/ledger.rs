//! Writers that create each key once: acknowledged keys must exist, once, on every member.
//!
//! It never retries a write: without a response it may have happened or not, and both are valid.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::Cluster;
use crate::failure::Failure;
use crate::http::{self, Connection, HttpError, Request};

const FOLDER: &str = "/ledger";
/// Slow enough for a reconnecting watcher to find missed events in the history.
const PACE: Duration = Duration::from_millis(8);
/// Timeout after which a writer switches to another member.
const PATIENCE: Duration = Duration::from_millis(800);
const POLL: Duration = Duration::from_millis(5);
const LISTING_LIMIT: Duration = Duration::from_secs(10);

/// One write and its response.
#[derive(Debug, Clone)]
pub struct Written {
    pub key: String,
    /// The acknowledged event index; `None` without a response.
    pub index: Option<u64>,
    pub answered: Instant,
}

pub struct Ledger {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Vec<Written>, Failure>>>,
}

impl Ledger {
    pub fn start(addresses: &[SocketAddr], writers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let start = |number: usize| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            let addresses = addresses.to_vec();
            thread::spawn(move || write(number, &addresses, &stop, &acknowledged))
        };
        let threads = (0..writers).map(start).collect();
        Self { stop, acknowledged, threads }
    }

    /// Waits until `more` writes are acknowledged.
    pub fn wait_for(&self, more: u64, limit: Duration) -> Result<(), Failure> {
        let (before, deadline) = (self.acknowledged.load(Ordering::Relaxed), Instant::now() + limit);
        loop {
            let written = self.acknowledged.load(Ordering::Relaxed) - before;
            if written >= more {
                return Ok(());
            }
            let ended = self.threads.iter().filter(|one| one.is_finished()).count();
            if Instant::now() > deadline || ended == self.threads.len() {
                return Err(Failure::differs(format!(
                    "{written} of {more} writes within {limit:?}; {ended} writers saw a key written twice"
                )));
            }
            thread::sleep(POLL);
        }
    }

    /// Stops the writers. Fails if a key existed before its only writer created it.
    pub fn finish(self) -> Result<Vec<Written>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for one in self.threads {
            all.extend(one.join().map_err(|_| Failure::differs("a writer panicked"))??);
        }
        all.sort_by_key(|one| one.answered);
        Ok(all)
    }
}

fn write(
    number: usize,
    addresses: &[SocketAddr],
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Result<Vec<Written>, Failure> {
    let (mut all, mut connection, mut member, mut count) = (Vec::new(), None, number, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{FOLDER}/{number}-{count:06}");
        let request = Request::form("PUT", format!("/v2/keys{key}"), "prevExist=false&value=x");
        let response = exchange(&mut connection, addresses[member % addresses.len()], &request);
        let sent = !matches!(response, Err(HttpError::Connect { .. }));
        let index = match response {
            Ok(response) if response.status == 201 => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                response.index()
            }
            Ok(response) if response.status == 412 => {
                return Err(Failure::differs(format!("{key} was written twice: {}", response.text())));
            }
            _ => None,
        };
        if index.is_none() {
            connection = None;
            member += 1;
        }
        if sent {
            all.push(Written { key, index, answered: Instant::now() });
            count += 1;
        }
        thread::sleep(PACE);
    }
    Ok(all)
}

fn exchange(
    kept: &mut Option<Connection>,
    address: SocketAddr,
    request: &Request,
) -> Result<http::Response, HttpError> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(address, PATIENCE)?,
    };
    let response = connection.exchange(request)?;
    *kept = Some(connection);
    Ok(response)
}

/// The longest interval without an acknowledged write since `since`.
pub fn longest_gap(written: &[Written], since: Instant) -> Duration {
    let times = written.iter().filter(|one| one.index.is_some()).map(|one| one.answered);
    let times: Vec<_> = std::iter::once(since).chain(times.filter(|time| *time > since)).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
}

/// Checks that every running member has each acknowledged key at its index, and that all members agree.
pub fn check_ledger(cluster: &Cluster, written: &[Written]) -> Result<(), Failure> {
    cluster.wait_until_serving()?;
    let mut first: Option<(SocketAddr, BTreeMap<String, u64>)> = None;
    for address in cluster.running_addresses() {
        let keys = listing(address)?;
        for one in written {
            let Some(index) = one.index else { continue };
            match keys.get(&one.key) {
                Some(found) if *found == index => {}
                found => {
                    let key = &one.key;
                    return Err(Failure::differs(format!(
                        "{key} was acknowledged at index {index}; {address} has it at {found:?}"
                    )));
                }
            }
        }
        match &first {
            None => first = Some((address, keys)),
            Some((other, theirs)) if *theirs != keys => {
                let differing: Vec<_> =
                    theirs.iter().filter(|(key, at)| keys.get(*key) != Some(at)).collect();
                return Err(Failure::differs(format!("{other} and {address} differ: {differing:?}")));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn listing(address: SocketAddr) -> Result<BTreeMap<String, u64>, Failure> {
    let request = Request::new("GET", format!("/v2/keys{FOLDER}?quorum=true"));
    let response = http::exchange(address, &request, LISTING_LIMIT)
        .map_err(|source| Failure::Http { request: format!("{address}{FOLDER}"), source })?;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let nodes = body["node"]["nodes"].as_array();
    let nodes = nodes.ok_or_else(|| Failure::differs(format!("{address}: {}", response.text())))?;
    let read = |node: &Value| Some((node["key"].as_str()?.to_owned(), node["modifiedIndex"].as_u64()?));
    Ok(nodes.iter().filter_map(read).collect())
}
