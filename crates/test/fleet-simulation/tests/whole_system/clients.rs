//! Clients that read and write a few keys at all members and record a history for the linearizability checker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conformance::history::{Action, Operation, Outcome, Verdict, check};
use etcd_client::{Client, DeleteOptions, Error, GetOptions, PrevExist, Reason, SetOptions};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::members::MEMBERS;
use crate::store::EtcdCluster;

const CLIENT_COUNT: usize = 3;
const KEY_COUNT: usize = 3;
/// Milliseconds between two operations of a client.
const PAUSE_MILLIS: std::ops::Range<u64> = 20..2_000;
/// A shorter history proves nothing.
const MIN_RESPONSES: usize = 100;
/// First host number of these clients.
const FIRST_CLIENT: usize = 1_000;

/// History of all clients.
#[derive(Default)]
pub struct History {
    operations: Mutex<Vec<Operation>>,
    /// Logical time: incremented by each call and response.
    clock: AtomicU64,
    stopped: AtomicBool,
}

impl History {
    /// Starts the clients.
    pub fn start(store: &EtcdCluster, rng: &mut fastrand::Rng) -> Arc<Self> {
        let history = Arc::new(Self::default());
        for number in 0..CLIENT_COUNT {
            // One client per member: a client with several endpoints retries a write whose connection broke.
            let clients =
                (0..MEMBERS).map(|member| store.client_at(FIRST_CLIENT + number, &[member])).collect();
            tokio::spawn(
                HistoryClient { number, clients, rng: rng.fork(), history: Arc::clone(&history) }.run(),
            );
        }
        history
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Stops the clients and checks the history.
    pub fn stop_and_check(&self) -> Option<String> {
        self.stopped.store(true, Ordering::Relaxed);
        let operations = self.operations.lock();
        let answered = operations.iter().filter(|operation| operation.outcome != Outcome::Unknown).count();
        if answered < MIN_RESPONSES {
            return Some(format!("{answered} operations were answered: too few to say anything"));
        }
        match check(&operations) {
            Verdict::Linearizable => None,
            Verdict::Undecided { key } => Some(format!("the history of {key} could not be decided")),
            Verdict::Violated(part) => {
                let part: String = part.iter().map(|operation| format!("{operation}\n")).collect();
                Some(format!("the history is not linearizable:\n{part}"))
            }
        }
    }
}

struct HistoryClient {
    number: usize,
    /// By member.
    clients: Vec<Client>,
    rng: fastrand::Rng,
    history: Arc<History>,
}

impl HistoryClient {
    async fn run(mut self) {
        let mut next = (self.number as u64 + 1) << 32;
        let mut last = [0; KEY_COUNT];
        while !self.history.stopped.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(self.rng.u64(PAUSE_MILLIS))).await;
            let key = self.rng.usize(0..KEY_COUNT);
            next += 1;
            let action = match self.rng.u32(0..10) {
                0..4 => Action::Read,
                4..6 => Action::Write(next),
                6 => Action::Create(next),
                7..9 => Action::Swap { from: last[key], to: next },
                _ => Action::Delete,
            };
            let client = &self.clients[self.rng.usize(0..self.clients.len())];
            let (path, called) = (format!("/history/{key}"), self.history.now());
            // The operation was certainly not executed.
            let Some(outcome) = execute(client, &path, action).await else { continue };
            let answered = self.history.now();
            if let Outcome::Saw(Some(value)) = outcome {
                last[key] = value;
            }
            if outcome != Outcome::Unknown || action != Action::Read {
                let operation =
                    Operation { client: self.number, key: path, action, outcome, called, answered };
                self.history.operations.lock().push(operation);
            }
        }
    }
}

async fn execute(client: &Client, path: &str, action: Action) -> Option<Outcome> {
    let put = async |value: u64, options: SetOptions| {
        client.set(path, value.to_string(), &options).await.map(|_| None)
    };
    let done = match action {
        Action::Read => {
            let options = GetOptions { quorum: true, ..GetOptions::default() };
            client.get(path, options).await.map(|answer| answer.node().value)
        }
        Action::Write(value) => put(value, SetOptions::default()).await,
        Action::Create(value) => {
            put(value, SetOptions { prev_exist: PrevExist::NoExist, ..SetOptions::default() }).await
        }
        Action::Swap { from, to } => {
            put(to, SetOptions { prev_value: Some(from.to_string()), ..SetOptions::default() }).await
        }
        Action::Delete => client.delete(path, &DeleteOptions::default()).await.map(|_| None),
    };
    Some(match done {
        Ok(value) if action == Action::Read => Outcome::Saw(value.map(|value| value.parse().unwrap())),
        Ok(_) => Outcome::Done,
        Err(error) if error.is_key_not_found() && action == Action::Read => Outcome::Saw(None),
        Err(error) if error.is_key_not_found() => Outcome::Missing,
        Err(Error::Api { code, .. }) if code < FIRST_SERVER_ERROR => Outcome::Refused,
        Err(error) if error.attempts().iter().all(|attempt| never_sent(&attempt.reason)) => return None,
        Err(_) => Outcome::Unknown,
    })
}

/// First error code that concerns the server, not the request.
const FIRST_SERVER_ERROR: u32 = 300;

fn never_sent(reason: &Reason) -> bool {
    matches!(reason, Reason::Connect(_) | Reason::ConnectTimeout { .. })
}
