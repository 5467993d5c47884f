//! Clients that read and write a few keys during fault injection, and record the results.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::operation::{Action, Operation, Outcome};
use crate::backend::Cluster;
use crate::failure::Failure;
use crate::http::{Connection, HttpError, Request, Response};

#[derive(Debug, Clone)]
pub struct Recording {
    pub clients: usize,
    /// Fewer keys cause more contention.
    pub keys: usize,
    pub folder: String,
    /// Longer waits count as unanswered.
    pub patience: Duration,
    /// Pause between two operations of a client.
    pub pause: Duration,
    pub seed: u64,
}

/// Runs the clients, one reader per member, and `faults` concurrently; then reads every key a last time.
pub fn record(
    cluster: &mut Cluster,
    plan: &Recording,
    faults: impl FnOnce(&mut Cluster) -> Result<(), Failure>,
) -> Result<Vec<Operation>, Failure> {
    let addresses = cluster.addresses();
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (outcome, mut history) = thread::scope(|scope| {
        let start = |number: usize| {
            let mut client = Client::new(number, plan, &addresses, began);
            if let Some(member) = number.checked_sub(plan.clients) {
                // Clients switch away from a member that rejects writes; readers detect whether it serves stale
                // values.
                (client.member, client.only_reads) = (member, true);
            }
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    client.step();
                    thread::sleep(client.plan.pause);
                }
                client.recorded
            })
        };
        let running: Vec<_> = (0..plan.clients + addresses.len()).map(start).collect();
        // Also if the faults panic: the scope joins the clients.
        let stop = StopOnDrop(&over);
        let outcome = faults(cluster);
        drop(stop);
        let recorded = running.into_iter().map(|one| one.join().unwrap_or_default());
        (outcome, recorded.flatten().collect::<Vec<_>>())
    });
    outcome?;
    cluster.wait_until_serving()?;
    let mut last = Client::new(plan.clients + addresses.len(), plan, &addresses, began);
    (0..plan.keys).for_each(|key| last.act(format!("{}/{key}", plan.folder), Action::Read));
    history.extend(last.recorded);
    Ok(history)
}

/// Stops the clients on drop.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Client<'a> {
    number: usize,
    plan: &'a Recording,
    addresses: &'a [SocketAddr],
    began: Instant,
    random: u64,
    /// Written values are unique, so that a read identifies its write.
    next_value: u64,
    /// The last value read from each key, from which a swap starts.
    last: Vec<u64>,
    connection: Option<Connection>,
    member: usize,
    /// It stays at one member.
    only_reads: bool,
    recorded: Vec<Operation>,
}

impl<'a> Client<'a> {
    fn new(number: usize, plan: &'a Recording, addresses: &'a [SocketAddr], began: Instant) -> Self {
        Self {
            number,
            plan,
            addresses,
            began,
            // xorshift needs a nonzero state.
            random: (plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (number as u64 + 1)) | 1,
            next_value: (number as u64 + 1) << 32,
            last: vec![0; plan.keys],
            connection: None,
            member: number % addresses.len(),
            only_reads: false,
            recorded: Vec::new(),
        }
    }

    fn random(&mut self, below: usize) -> usize {
        // xorshift64: the same seed gives the same operations.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % below
    }

    fn step(&mut self) {
        let key = self.random(self.plan.keys);
        self.next_value += 1;
        let action = match self.random(10) {
            _ if self.only_reads => Action::Read,
            0..4 => Action::Read,
            4..6 => Action::Write(self.next_value),
            6 => Action::Create(self.next_value),
            7..9 => Action::Swap { from: self.last[key], to: self.next_value },
            _ => Action::Delete,
        };
        self.act(format!("{}/{key}", self.plan.folder), action);
        if let Some(Operation { outcome: Outcome::Saw(Some(value)), .. }) = self.recorded.last() {
            self.last[key] = *value;
        }
    }

    fn act(&mut self, key: String, action: Action) {
        let request = request(&key, action);
        let called = self.now();
        let response = self.send(&request);
        let answered = self.now();
        let outcome = match response {
            Ok(response) => outcome(action, &response),
            // Nothing was sent, so nothing happened.
            Err(HttpError::Connect { .. }) => return self.next_member(),
            Err(_) => Outcome::Unknown,
        };
        if outcome == Outcome::Unknown {
            self.next_member();
        }
        if outcome != Outcome::Unknown || action != Action::Read {
            self.recorded.push(Operation { client: self.number, key, action, outcome, called, answered });
        }
    }

    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.addresses[self.member], self.plan.patience)?,
        };
        let response = connection.exchange(request)?;
        self.connection = Some(connection);
        Ok(response)
    }

    fn next_member(&mut self) {
        self.connection = None;
        if !self.only_reads {
            self.member = (self.member + 1) % self.addresses.len();
        }
        // Connections are refused immediately: without a pause a dead member would cause a busy loop.
        thread::sleep(Duration::from_millis(5));
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn request(key: &str, action: Action) -> Request {
    let target = format!("/v2/keys{key}");
    match action {
        Action::Read => Request::new("GET", target + "?quorum=true"),
        Action::Write(value) => Request::form("PUT", target, format!("value={value}")),
        Action::Create(value) => Request::form("PUT", target, format!("prevExist=false&value={value}")),
        Action::Swap { from, to } => Request::form("PUT", target, format!("prevValue={from}&value={to}")),
        Action::Delete => Request::new("DELETE", target),
    }
}

fn outcome(action: Action, response: &Response) -> Outcome {
    let event: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let value = event["node"]["value"].as_str().and_then(|text| text.parse().ok());
    match (action, response.status, event["errorCode"].as_u64()) {
        (Action::Read, 200, _) if value.is_some() => Outcome::Saw(value),
        (Action::Read, 404, Some(100)) => Outcome::Saw(None),
        (_, 200 | 201, _) => Outcome::Done,
        (_, 404, Some(100)) => Outcome::Missing,
        (_, 412, Some(101 | 105)) => Outcome::Refused,
        // 500/300 and other errors leave the outcome open.
        _ => Outcome::Unknown,
    }
}
