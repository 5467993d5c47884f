//! Watchers of the ledger that resume at another member after the last received event. They never fill a gap by
//! reading.

use std::sync::Arc;
use std::time::Duration;

use conformance::history::WatchEvent;
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::history::key;
use super::ledger::FOLDER;
use super::network::Endpoint;
use super::simulation::ClientContext;

/// After this time without an event another member is tried.
const IDLE_TIMEOUT: Duration = Duration::from_millis(700);

pub struct Watcher {
    pub number: usize,
    pub random: Rng,
    pub context: Arc<ClientContext>,
    pub seen: Arc<Mutex<Vec<WatchEvent>>>,
    /// Sabotage: drops one event.
    pub drops_one_event: bool,
}

impl Watcher {
    pub async fn run(mut self) {
        let mut next = 1;
        let mut count = 0_u64;
        let mut member = self.random.u64(1..=self.context.members);
        loop {
            // Members are tried in turn, because the history covers only a few retries.
            member = member % self.context.members + 1;
            let endpoint = self.context.network.endpoint(member);
            let Some(mut events) = endpoint.map(|endpoint| watch(endpoint, next)) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            while let Ok(Some(event)) = tokio::time::timeout(IDLE_TIMEOUT, events.recv()).await {
                let seen = match event {
                    Ok(seen) => seen,
                    Err(error) => return self.context.report_failure(&error),
                };
                next = seen.index + 1;
                count += 1;
                self.context.trace.note(format_args!("watcher {} at {member}: {seen:?}", self.number));
                if !(self.drops_one_event && count == 50) {
                    self.seen.lock().push(seen);
                }
            }
        }
    }
}

/// Events from `since` on, until the watch or the member ends.
fn watch(endpoint: Endpoint, since: u64) -> mpsc::UnboundedReceiver<Result<WatchEvent, String>> {
    let (sender, events) = mpsc::unbounded_channel();
    let Endpoint { member, runtime } = endpoint;
    runtime.spawn(async move {
        let mut watch = match member.watch(&key(FOLDER), true, Some(since)) {
            Ok(watch) => watch,
            Err(error) => return drop(sender.send(Err(format!("a watch at {since}: {error:?}")))),
        };
        while let Some(event) = watch.next().await {
            let name = String::from_utf8(event.node.key.as_bytes().to_vec()).unwrap();
            if sender.send(Ok(WatchEvent { index: event.index(), key: name })).is_err() {
                return;
            }
        }
    });
    events
}
