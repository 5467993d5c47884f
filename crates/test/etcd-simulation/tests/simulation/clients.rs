//! Clients that read and write a few keys at any member and record a history.

use std::sync::Arc;
use std::time::Duration;

use conformance::history::{Action, Operation, Outcome};
use fastrand::Rng;
use parking_lot::Mutex;

use super::history::act;
use super::network::Endpoint;
use super::simulation::ClientContext;

const KEYS: usize = 4;
/// A slower call counts as unanswered.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);

pub struct Client {
    pub number: usize,
    pub random: Rng,
    /// The member that a read-only client uses.
    pub fixed_member: Option<u64>,
    pub barrier: bool,
    pub context: Arc<ClientContext>,
    pub seen: Arc<Mutex<Vec<Operation>>>,
}

impl Client {
    pub async fn run(mut self) {
        let mut member = self.random.u64(1..=self.context.members);
        let mut next = (self.number as u64 + 1) << 32;
        let mut last = [0; KEYS];
        while !self.context.is_over() {
            let pause = self.random.u64(2..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let key = self.random.usize(0..KEYS);
            next += 1;
            let action = match self.random.u32(0..10) {
                _ if self.fixed_member.is_some() => Action::Read,
                0..4 => Action::Read,
                4..6 => Action::Write(next),
                6 => Action::Create(next),
                7..9 => Action::Swap { from: last[key], to: next },
                _ => Action::Delete,
            };
            match self.operation(self.fixed_member.unwrap_or(member), key, action).await {
                Some(Outcome::Saw(Some(value))) => last[key] = value,
                Some(Outcome::Unknown) | None => member = self.random.u64(1..=self.context.members),
                _ => {}
            }
        }
    }

    async fn operation(&mut self, member: u64, key: usize, action: Action) -> Option<Outcome> {
        let key = format!("/history/{key}");
        let called = self.context.trace.moments.next();
        self.network_delay().await;
        let Endpoint { member: at, runtime } = self.context.network.endpoint(member)?;
        let mut acting = runtime.spawn(act(at, key.clone(), action, self.barrier));
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, &mut acting).await;
        self.network_delay().await;
        acting.abort();
        let outcome = match answer {
            Ok(Ok(answer)) => answer?,
            // The member stopped or was too slow.
            _ => Outcome::Unknown,
        };
        let answered = self.context.trace.moments.next();
        let operation = Operation { client: self.number, key, action, outcome, called, answered };
        self.context.trace.note(format_args!("at {member}: {operation}"));
        if outcome != Outcome::Unknown || action != Action::Read {
            self.seen.lock().push(operation);
        }
        Some(outcome)
    }

    async fn network_delay(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..3))).await;
    }
}
