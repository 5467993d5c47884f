//! A naive model of the store, written as plainly as the contract: a map of complete paths, and linear searches. The
//! real store is compared with it.

mod auth;
mod keys;
mod members;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, Event, Key, Node, StoreStatistics, Timestamp};
use etcd_store::{Change, Command, CommandError, HISTORY_EVENTS, Outcome};

pub use watch::sees;

#[derive(Debug, Clone)]
pub struct Naive {
    pub index: u64,
    /// By complete path; the root `/` always exists.
    nodes: BTreeMap<Vec<u8>, NaiveNode>,
    /// Indexes with their events, if watchers receive them.
    entry: Vec<(u64, Option<Arc<Event>>)>,
    members: members::Members,
    auth: auth::Auth,
    counts: StoreStatistics,
}

#[derive(Debug, Clone)]
struct NaiveNode {
    /// `None` for a directory.
    value: Option<Bytes>,
    created: u64,
    modified: u64,
    expiration: Option<Timestamp>,
}

impl Naive {
    pub fn new() -> Self {
        let root = NaiveNode { value: None, created: 0, modified: 0, expiration: None };
        Self {
            index: 0,
            nodes: BTreeMap::from([(b"/".to_vec(), root)]),
            entry: Vec::new(),
            members: members::Members::default(),
            auth: auth::Auth::new(),
            counts: StoreStatistics::default(),
        }
    }

    pub fn apply(&mut self, command: &Command) -> Outcome {
        let result = match command {
            Command::Put(put) => self.put(put).map_err(CommandError::Keys),
            Command::Post(post) => self.post(post).map_err(CommandError::Keys),
            Command::Delete(delete) => self.delete(delete).map_err(CommandError::Keys),
            Command::Sync { now } => Ok(Change::Expired(self.expire(*now))),
            Command::Auth(command) => match self.auth.apply(command) {
                Ok((change, records)) => {
                    (0..records).for_each(|_| self.record_event(None));
                    Ok(change)
                }
                Err(error) => Err(CommandError::Auth(error)),
            },
            other => match self.members.apply(other) {
                Ok(Change::Disk) => Ok(Change::Disk),
                Ok(change) => {
                    self.record_event(None);
                    Ok(change)
                }
                Err(error) => Err(CommandError::Membership(error)),
            },
        };
        self.count(command, result.is_ok());
        Outcome { index: self.index, result }
    }

    fn record_event(&mut self, event: Option<Arc<Event>>) {
        self.index += 1;
        self.entry.push((self.index, event));
        if self.entry.len() > HISTORY_EVENTS {
            self.entry.remove(0);
        }
    }

    pub fn scan(&self, key: &Key, recursive: bool, since: u64) -> Result<Option<Arc<Event>>, ApiError> {
        if let Some((oldest, _)) = self.entry.first().filter(|(oldest, _)| since < *oldest) {
            let cause = format!("the requested history has been cleared [{oldest}/{since}]");
            return Err(ApiError::new(ErrorCode::EventIndexCleared, cause, self.index));
        }
        for (index, event) in &self.entry {
            if let Some(event) = event.as_ref().filter(|event| *index >= since && sees(key, recursive, event))
            {
                return Ok(Some(Arc::clone(event)));
            }
        }
        Ok(None)
    }

    pub fn statistics(&self) -> StoreStatistics {
        self.counts
    }

    fn count(&mut self, command: &Command, ok: bool) {
        let optional = |value: &Option<Bytes>, index: &Option<u64>| {
            value.as_ref().is_some_and(|value| !value.is_empty()) || index.is_some_and(|index| index > 0)
        };
        let counts = &mut self.counts;
        let pair = match command {
            Command::Post(_) => (&mut counts.create_success, &mut counts.create_fail),
            Command::Put(put) if put.prev_exist == Some(false) => {
                (&mut counts.create_success, &mut counts.create_fail)
            }
            Command::Put(put) if optional(&put.prev_value, &put.prev_index) => {
                (&mut counts.compare_and_swap_success, &mut counts.compare_and_swap_fail)
            }
            Command::Put(put) if put.prev_exist.is_some() => {
                (&mut counts.update_success, &mut counts.update_fail)
            }
            Command::Put(_) => (&mut counts.sets_success, &mut counts.sets_fail),
            Command::Delete(delete) if optional(&delete.prev_value, &delete.prev_index) => {
                (&mut counts.compare_and_delete_success, &mut counts.compare_and_delete_fail)
            }
            Command::Delete(_) => (&mut counts.delete_success, &mut counts.delete_fail),
            _ => return,
        };
        *(if ok { pair.0 } else { pair.1 }) += 1;
    }

    fn to_node(&self, path: &[u8]) -> Node {
        let node = &self.nodes[path];
        Node {
            key: Key::parse(path).unwrap(),
            value: node.value.clone(),
            dir: node.value.is_none(),
            expiration: node.expiration,
            nodes: Vec::new(),
            modified_index: node.modified,
            created_index: node.created,
        }
    }
}
