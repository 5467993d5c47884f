//! All tokens: a v2 store below `/_etcd/registry`, its watchers, and the journal.
//!
//! Independent of HTTP. Writes are in the journal before they are acknowledged.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{ApiError, Event, Key, KeysRequest, Timestamp, WatchRequest};
use etcd_store::watch::{Hub, WatcherAction, WatcherId};
use etcd_store::{Command, CommandError, Outcome, Put, Store};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::journal::{Journal, JournalError};
use crate::limits::{
    MAX_REGISTRATIONS, MAX_TOKENS, MAX_WATCH_LAG, MAX_WATCHES, UNUSED_TOKEN_TTL, USED_TOKEN_TTL_SECONDS,
};

/// Directory of the tokens, here and in an upstream etcd.
pub const REGISTRY: &str = "/_etcd/registry";
const TOKEN_BYTES: usize = 16;

/// A watcher; removed when its channel is full or closed.
#[derive(Debug)]
struct PendingWatch {
    sender: mpsc::Sender<Arc<Event>>,
    stream: bool,
}

/// The tokens with their registrations, in the format of etcd keys.
pub struct Tokens {
    store: Store,
    hub: Hub<PendingWatch>,
    journal: Option<Journal>,
    /// Number of tokens; listing them for each new one would be slow.
    count: usize,
}

/// The result of a request.
pub enum TokenResponse {
    Event { event: Arc<Event>, index: u64 },
    Watch { registered: Option<WatchHandle>, events: mpsc::Receiver<Arc<Event>>, index: u64 },
}

/// A pending watch, for cancelling it.
pub struct WatchHandle {
    key: Key,
    id: WatcherId,
}

#[derive(Debug, Error)]
pub enum TokenError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("too many tokens")]
    ManyTokens,
    #[error("too many registrations")]
    ManyRegistrations,
    #[error("too many watches")]
    ManyWatches,
    #[error("cannot write the journal")]
    Journal(#[source] io::Error),
    #[error("the store is broken; restart the service")]
    Broken,
    #[error("no random numbers: {0}")]
    Random(String),
}

impl Tokens {
    /// Tokens are lost at exit.
    pub fn in_memory() -> Self {
        Self { store: Store::new(), hub: Hub::new(), journal: None, count: 0 }
    }

    /// Tokens are stored in this file.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (journal, store) = Journal::open(path)?;
        let listed = key(REGISTRY).and_then(|key| store.get(&key, false).ok());
        let count = listed.map_or(0, |event| event.node.nodes.len());
        Ok(Self { store, hub: Hub::new(), journal: Some(journal), count })
    }

    /// Number of tokens.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether writes can be acknowledged.
    pub fn healthy(&self) -> bool {
        self.journal.as_ref().is_none_or(Journal::is_intact)
    }

    /// Number of pending watches.
    pub fn watches(&self) -> usize {
        self.hub.len()
    }

    /// Creates a token for a cluster of `size` members.
    pub fn create(&mut self, size: usize, now: Timestamp) -> Result<String, TokenError> {
        if self.count() >= MAX_TOKENS {
            return Err(TokenError::ManyTokens);
        }
        let token = random_token()?;
        let directory = format!("{REGISTRY}/{token}");
        let mut create_directory = put(&directory, b"", Some(now.plus_seconds(UNUSED_TOKEN_TTL.as_secs())));
        create_directory.dir = true;
        create_directory.prev_exist = Some(false);
        let mut set_size = put(&format!("{directory}/_config/size"), size.to_string().as_bytes(), None);
        set_size.prev_exist = Some(false);
        for outcome in self.apply(&[Command::Put(create_directory), Command::Put(set_size)])? {
            if let Err(CommandError::Keys(error)) = outcome.result {
                return Err(error.into());
            }
        }
        self.count += 1;
        Ok(token)
    }

    /// Executes a request below a token. The request's key is absolute.
    pub fn request(
        &mut self,
        token: &str,
        request: KeysRequest,
        now: Timestamp,
    ) -> Result<TokenResponse, TokenError> {
        let Some(directory) = key(&format!("{REGISTRY}/{token}")) else {
            return Err(ApiError::new(etcd_api::ErrorCode::KeyNotFound, token, self.store.index()).into());
        };
        // Only existing tokens: a write must not create one.
        let known = self.store.get(&directory, false)?;
        match request {
            KeysRequest::Get(get) => {
                let event = Arc::new(self.store.get(&get.key, get.recursive)?);
                Ok(TokenResponse::Event { event, index: self.store.index() })
            }
            KeysRequest::Watch(watch) => self.watch(&watch),
            write => {
                let is_new = self.store.get(write.key(), false).is_err();
                if is_new && known.node.nodes.len() >= MAX_REGISTRATIONS {
                    return Err(TokenError::ManyRegistrations);
                }
                let mut commands = Vec::new();
                let kept = now.plus_seconds(USED_TOKEN_TTL_SECONDS);
                if known.node.expiration.is_some_and(|at| at < now.plus_seconds(USED_TOKEN_TTL_SECONDS / 2)) {
                    // Without an event: watchers of the token would take it for a member.
                    let mut keep = put(&format!("{REGISTRY}/{token}"), b"", Some(kept));
                    keep.dir = true;
                    keep.refresh = true;
                    keep.prev_exist = Some(true);
                    commands.push(Command::Put(keep));
                }
                commands.extend(Command::from_request(write, now));
                let outcome = self.apply(&commands)?.pop();
                self.outcome(outcome)
            }
        }
    }

    fn outcome(&self, outcome: Option<Outcome>) -> Result<TokenResponse, TokenError> {
        let nothing = || ApiError::new(etcd_api::ErrorCode::RaftInternal, "nothing done", self.store.index());
        let outcome = outcome.ok_or_else(nothing)?;
        match (outcome.event(), &outcome.result) {
            (Some(event), _) => Ok(TokenResponse::Event { event: event.clone(), index: outcome.index }),
            (None, Err(CommandError::Keys(error))) => Err(error.clone().into()),
            (None, _) => Err(nothing().into()),
        }
    }

    fn watch(&mut self, watch: &WatchRequest) -> Result<TokenResponse, TokenError> {
        let index = self.store.index();
        let since = watch.since.unwrap_or(index + 1);
        let past = self.store.scan_history(&watch.key, watch.recursive, since)?;
        let (sender, events) = mpsc::channel(MAX_WATCH_LAG);
        let next = match past {
            Some(event) => {
                let next = event.index() + 1;
                // A new channel has capacity for one.
                if sender.try_send(event).is_err() || !watch.stream {
                    return Ok(TokenResponse::Watch { registered: None, events, index });
                }
                next
            }
            None => since,
        };
        if self.hub.len() >= MAX_WATCHES {
            return Err(TokenError::ManyWatches);
        }
        let mut next = next;
        while watch.stream && next <= index {
            let Some(event) = self.store.scan_history(&watch.key, watch.recursive, next)? else { break };
            next = event.index() + 1;
            if sender.try_send(event).is_err() {
                // More events than the limit: the stream ends, and the client reconnects.
                return Ok(TokenResponse::Watch { registered: None, events, index });
            }
        }
        let pending = PendingWatch { sender, stream: watch.stream };
        let id = self.hub.register(&watch.key, watch.recursive, next, pending);
        let registered = Some(WatchHandle { key: watch.key.clone(), id });
        Ok(TokenResponse::Watch { registered, events, index })
    }

    /// Removes the watch of a disconnected client.
    pub fn cancel(&mut self, watch: &WatchHandle) {
        self.hub.cancel(&watch.key, watch.id);
    }

    /// Removes expired tokens.
    pub fn sync(&mut self, now: Timestamp) -> Result<(), TokenError> {
        if self.store.next_expiration().is_some_and(|at| at <= now) {
            self.apply(&[Command::Sync { now }])?;
        }
        Ok(())
    }

    /// Writes the journal, then applies to the store, then notifies watchers.
    fn apply(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, TokenError> {
        if let Some(journal) = &mut self.journal {
            journal.append(commands).map_err(TokenError::Journal)?;
        }
        let mut outcomes = Vec::new();
        for command in commands {
            let outcome = self.store.apply(command);
            for event in outcome.watch_events() {
                let of_registry =
                    event.node.key.parent().is_some_and(|key| key.as_bytes() == REGISTRY.as_bytes());
                if of_registry && event.removes_directory() {
                    self.count = self.count.saturating_sub(1);
                }
                self.hub.notify(event, |_, pending, event| match pending.sender.try_send(event.clone()) {
                    Ok(()) if pending.stream => WatcherAction::Keep,
                    _ => WatcherAction::Remove,
                });
            }
            outcomes.push(outcome);
        }
        if let Some(journal) = &mut self.journal {
            journal.compact_if_grown(&self.store).map_err(TokenError::Journal)?;
        }
        Ok(outcomes)
    }
}

fn key(path: &str) -> Option<Key> {
    Key::parse(path).ok()
}

fn put(path: &str, value: &[u8], expiration: Option<Timestamp>) -> Put {
    Put {
        // invariant: made of constants and hex digits.
        key: key(path).unwrap_or_else(Key::root),
        value: Bytes::copy_from_slice(value),
        dir: false,
        expiration,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    }
}

/// 32 lower-case hex digits from a secure random source.
pub fn random_token() -> Result<String, TokenError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| TokenError::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use etcd_api::RequestParts;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn day(number: u64) -> Timestamp {
        Timestamp::from_unix_nanos(0).plus_seconds(1_700_000_000 + number * DAY)
    }

    fn register(tokens: &mut Tokens, token: &str, now: Timestamp) -> Result<TokenResponse, TokenError> {
        let path = format!("/v2/keys{REGISTRY}/{token}/m");
        let parts = RequestParts {
            method: etcd_api::Method::Put,
            path: path.as_bytes(),
            query: Some("value=v"),
            content_type: None,
            body: b"",
        };
        tokens.request(token, KeysRequest::parse(parts).unwrap(), now)
    }

    #[test]
    fn unused_tokens_expire_and_used_ones_remain() {
        let mut tokens = Tokens::in_memory();
        let unused = tokens.create(3, day(0)).unwrap();
        let used = tokens.create(3, day(0)).unwrap();
        assert!(register(&mut tokens, &used, day(1)).is_ok());
        tokens.sync(day(6)).unwrap();
        assert_eq!(tokens.count(), 2);
        tokens.sync(day(8)).unwrap();
        assert_eq!(tokens.count(), 1);
        assert!(register(&mut tokens, &unused, day(8)).is_err());
        tokens.sync(day(3_650)).unwrap();
        assert!(register(&mut tokens, &used, day(3_650)).is_ok());
    }

    #[test]
    fn a_slow_reader_is_closed_without_a_gap() {
        let mut tokens = Tokens::in_memory();
        let token = tokens.create(3, day(0)).unwrap();
        let key = Key::parse(format!("{REGISTRY}/{token}")).unwrap();
        let watch = WatchRequest { key, recursive: true, since: None, stream: true };
        let Ok(TokenResponse::Watch { mut events, .. }) = tokens.watch(&watch) else { panic!("no watch") };
        for _ in 0..MAX_WATCH_LAG + 2 {
            register(&mut tokens, &token, day(0)).ok().unwrap();
        }
        assert_eq!(tokens.watches(), 0);
        let mut seen = 0;
        while events.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, MAX_WATCH_LAG, "what was promised before is still given");
        assert_eq!(events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
