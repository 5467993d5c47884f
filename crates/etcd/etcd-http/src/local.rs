//! An in-memory back end of a single process, for tests and examples. Not durable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::SystemTime;

use etcd_api::{ApiError, Key, Member, Timestamp, Unavailable};
use etcd_store::watch::{Hub, WatcherAction, WatcherId};
use etcd_store::watch_queue::{Receiver, SendResult, Sender, watch_queue};
use etcd_store::{Change, Command, CommandError, Outcome, Store};
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::{
    Backend, EventSource, MemberChangeError, Next, OpenWatch, Position, Role, Status, WatchOptions,
};
use crate::limits;

/// The constant term of a store without elections.
const TERM: u64 = 2;

/// A [`Backend`] over a [`Store`] in a mutex.
#[derive(Clone, Debug)]
pub struct Local(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster_id: u64,
    member_id: u64,
    name: String,
    started: SystemTime,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    hub: Hub<PendingWatch>,
    /// Number of applied commands, as the log index.
    applied: u64,
    next_member_id: u64,
}

#[derive(Debug)]
struct PendingWatch {
    sender: Sender,
    stream: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, command: &Command) -> Outcome {
        self.applied += 1;
        let outcome = self.store.apply(command);
        for event in outcome.watch_events() {
            self.hub.notify(event, |_, waiting, event| {
                let over = waiting.sender.send(event, limits::MAX_QUEUED_EVENTS) == SendResult::Closed;
                if over || !waiting.stream { WatcherAction::Remove } else { WatcherAction::Keep }
            });
        }
        outcome
    }
}

impl Local {
    /// A new cluster with one member, as bootstrapped by etcd: its index is 3.
    pub fn new(member: Member, cluster_id: u64) -> Local {
        let mut state = State { store: Store::new(), hub: Hub::new(), applied: 0, next_member_id: member.id };
        let Member { id, name, peer_urls, client_urls } = member;
        let unpublished = Member { id, name: String::new(), peer_urls, client_urls: Vec::new() };
        state.apply(&Command::AddMember(unpublished));
        state.apply(&Command::PublishMember { id, name: name.clone(), client_urls });
        state.apply(&Command::SetClusterVersion { version: "2.3.0".to_owned() });
        let started = SystemTime::now();
        Local(Arc::new(Shared { cluster_id, member_id: id, name, started, state: Mutex::new(state) }))
    }

    /// Starts expiring keys until the last clone is dropped. Requires a tokio runtime.
    pub fn start_expiry(&self) {
        let shared = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut ticks = interval(limits::EXPIRY_TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(shared) = Weak::upgrade(&shared) else { return };
                expire(&mut shared.state(), Timestamp::from(SystemTime::now()));
            }
        });
    }

    fn change_member(&self, command: &Command) -> Result<Member, MemberChangeError> {
        match self.0.state().apply(command).result {
            Ok(Change::Member(member)) => Ok(member),
            Err(CommandError::Membership(error)) => Err(error.into()),
            // A membership command has no other outcome.
            Ok(_) | Err(_) => Err(Unavailable::Cancelled.into()),
        }
    }
}

fn expire(state: &mut State, now: Timestamp) {
    if state.store.next_expiration().is_some_and(|first| first <= now) {
        state.apply(&Command::Sync { now });
    }
}

impl Backend for Local {
    type Watch = LocalWatch;

    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        Ok(self.0.state().apply(&command))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from(SystemTime::now())
    }

    async fn settled_time(&self) -> Result<Timestamp, Unavailable> {
        Ok(self.now())
    }

    async fn barrier(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        read(&self.0.state().store)
    }

    fn watch(&self, options: &WatchOptions) -> Result<OpenWatch<LocalWatch>, ApiError> {
        let mut state = self.0.state();
        let index = state.store.index();
        let mut history = Vec::new();
        let mut from = options.since;
        while let Some(since) = from {
            match state.store.scan_history(&options.key, options.recursive, since)? {
                Some(event) => {
                    from = options.stream.then(|| event.index() + 1).filter(|next| *next <= index);
                    history.push(event);
                }
                None => from = None,
            }
        }
        if !options.stream && !history.is_empty() {
            return Ok(OpenWatch { index, history, live: None });
        }
        let (sender, receiver) = watch_queue();
        let since = options.since.unwrap_or(0).max(index + 1);
        let waiting = PendingWatch { sender, stream: options.stream };
        let id = state.hub.register(&options.key, options.recursive, since, waiting);
        let live = LocalWatch { receiver, key: options.key.clone(), id, shared: Arc::clone(&self.0) };
        Ok(OpenWatch { index, history, live: Some(live) })
    }

    fn watchers(&self) -> u64 {
        self.0.state().hub.len() as u64
    }

    fn position(&self) -> Position {
        Position { index: self.0.state().applied, term: TERM }
    }

    fn status(&self) -> Status {
        let position = self.position();
        Status {
            cluster_id: self.0.cluster_id,
            member_id: self.0.member_id,
            name: self.0.name.clone(),
            role: Role::Leader,
            leader: Some(self.0.member_id),
            started: self.0.started,
            leader_since: Some(self.0.started),
            position,
            committed: position.index,
            proposals_pending: 0,
            proposals_failed: 0,
            leader_changes: 1,
            appends_received: 0,
            appends_sent: 0,
            received: Default::default(),
            sent: Default::default(),
            followers: Vec::new(),
            database_bytes: 0,
        }
    }

    async fn add_member(&self, peer_urls: Vec<String>) -> Result<Member, MemberChangeError> {
        let id = {
            let mut state = self.0.state();
            state.next_member_id = state.next_member_id.wrapping_add(1);
            state.next_member_id
        };
        let (name, client_urls) = (String::new(), Vec::new());
        self.change_member(&Command::AddMember(Member { id, name, peer_urls, client_urls }))
    }

    async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<(), MemberChangeError> {
        self.change_member(&Command::UpdateMember { id, peer_urls }).map(drop)
    }

    async fn remove_member(&self, id: u64) -> Result<(), MemberChangeError> {
        self.change_member(&Command::RemoveMember { id }).map(drop)
    }
}

/// A watch of a [`Local`].
#[derive(Debug)]
pub struct LocalWatch {
    receiver: Receiver,
    key: Key,
    id: WatcherId,
    shared: Arc<Shared>,
}

impl EventSource for LocalWatch {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.receiver.poll_event(context).map(|event| event.map_or(Next::Closed, Next::Event))
    }
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        self.shared.state().hub.cancel(&self.key, self.id);
    }
}
