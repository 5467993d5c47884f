//! Clients that read and write a few keys at any member, and write down what they saw.

use std::sync::Arc;
use std::time::Duration;

use conformance::history::{Action, Operation, Outcome};
use fastrand::Rng;
use parking_lot::Mutex;

use super::history::act;
use super::network::Place;
use super::world::Surroundings;

const KEYS: usize = 4;
/// A call that takes longer counts as unanswered.
const PATIENCE: Duration = Duration::from_millis(1_500);

pub struct Client {
    pub number: usize,
    pub random: Rng,
    /// Where it reads only, whoever else is there.
    pub stays_at: Option<u64>,
    pub barrier: bool,
    pub surroundings: Arc<Surroundings>,
    pub seen: Arc<Mutex<Vec<Operation>>>,
}

impl Client {
    pub async fn run(mut self) {
        let mut member = self.random.u64(1..=self.surroundings.members);
        let mut next = (self.number as u64 + 1) << 32;
        let mut last = [0; KEYS];
        while !self.surroundings.is_over() {
            let pause = self.random.u64(2..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let key = self.random.usize(0..KEYS);
            next += 1;
            let action = match self.random.u32(0..10) {
                _ if self.stays_at.is_some() => Action::Read,
                0..4 => Action::Read,
                4..6 => Action::Write(next),
                6 => Action::Create(next),
                7..9 => Action::Swap { from: last[key], to: next },
                _ => Action::Delete,
            };
            match self.operation(self.stays_at.unwrap_or(member), key, action).await {
                Some(Outcome::Saw(Some(value))) => last[key] = value,
                Some(Outcome::Unknown) | None => member = self.random.u64(1..=self.surroundings.members),
                _ => {}
            }
        }
    }

    async fn operation(&mut self, member: u64, key: usize, action: Action) -> Option<Outcome> {
        let key = format!("/history/{key}");
        let called = self.surroundings.trace.moments.next();
        self.travel().await;
        let Place { member: at, runtime } = self.surroundings.wires.place(member)?;
        let mut acting = runtime.spawn(act(at, key.clone(), action, self.barrier));
        let answer = tokio::time::timeout(PATIENCE, &mut acting).await;
        self.travel().await;
        acting.abort();
        let outcome = match answer {
            Ok(Ok(answer)) => answer?,
            // The member went away, or takes too long.
            _ => Outcome::Unknown,
        };
        let answered = self.surroundings.trace.moments.next();
        let operation = Operation { client: self.number, key, action, outcome, called, answered };
        self.surroundings.trace.note(format_args!("at {member}: {operation}"));
        if outcome != Outcome::Unknown || action != Action::Read {
            self.seen.lock().push(operation);
        }
        Some(outcome)
    }

    async fn travel(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..3))).await;
    }
}
