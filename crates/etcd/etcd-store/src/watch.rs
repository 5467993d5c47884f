//! The watcher registry. Pure: delivers events to a value of type `T` per watcher.
//!
//! Events are never copied per watcher.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use etcd_api::{Event, Key};

/// Identifies a watcher of a hub; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(u64);

/// Whether a watcher remains after a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatcherAction {
    /// Further events are delivered.
    Keep,
    /// The watcher is removed, without another call.
    Remove,
}

/// All open watches of a member.
#[derive(Debug)]
pub struct Hub<T> {
    next_id: u64,
    by_key: BTreeMap<Key, BTreeMap<WatcherId, Watcher<T>>>,
    count: usize,
}

#[derive(Debug)]
struct Watcher<T> {
    recursive: bool,
    since: u64,
    receiver: T,
}

impl<T> Hub<T> {
    /// A hub without watchers.
    pub fn new() -> Self {
        Self { next_id: 0, by_key: BTreeMap::new(), count: 0 }
    }

    /// Adds a watcher for events of `key`, and below it if `recursive`, with an index of at least `since`.
    pub fn register(&mut self, key: &Key, recursive: bool, since: u64, receiver: T) -> WatcherId {
        let id = WatcherId(self.next_id);
        self.next_id += 1;
        let watcher = Watcher { recursive, since, receiver };
        self.by_key.entry(key.clone()).or_default().insert(id, watcher);
        self.count += 1;
        id
    }

    /// Removes a watcher of `key` and returns its value.
    pub fn cancel(&mut self, key: &Key, id: WatcherId) -> Option<T> {
        let watchers = self.by_key.get_mut(key)?;
        let watcher = watchers.remove(&id)?;
        if watchers.is_empty() {
            self.by_key.remove(key);
        }
        self.count -= 1;
        Some(watcher.receiver)
    }

    /// Number of open watches.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no watch is open.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Delivers an event to all matching watchers, and removes those for which `deliver` returns so.
    ///
    /// An event matches watchers of its key, recursive watchers above it unless a name between them is hidden, and,
    /// for the removal of a directory, all watchers below it.
    pub fn notify(
        &mut self,
        event: &Arc<Event>,
        mut deliver: impl FnMut(WatcherId, &mut T, &Arc<Event>) -> WatcherAction,
    ) {
        if self.is_empty() {
            return;
        }
        let path = event.node.key.as_bytes();
        self.notify_at(path, event, WatcherScope::All, &mut deliver);
        for above in visible_ancestors(path) {
            self.notify_at(above, event, WatcherScope::Recursive, &mut deliver);
        }
        if event.removes_directory() {
            self.notify_below(path, event, &mut deliver);
        }
    }

    fn notify_at(
        &mut self,
        path: &[u8],
        event: &Arc<Event>,
        reach: WatcherScope,
        deliver: &mut impl FnMut(WatcherId, &mut T, &Arc<Event>) -> WatcherAction,
    ) {
        let Some(watchers) = self.by_key.get_mut(path) else { return };
        let count = &mut self.count;
        watchers.retain(|id, watcher| {
            let reached = reach == WatcherScope::All || watcher.recursive;
            if !reached || event.index() < watcher.since {
                return true;
            }
            let then = deliver(*id, &mut watcher.receiver, event);
            if then == WatcherAction::Remove {
                *count -= 1;
            }
            then == WatcherAction::Keep
        });
        if watchers.is_empty() {
            self.by_key.remove(path);
        }
    }

    fn notify_below(
        &mut self,
        path: &[u8],
        event: &Arc<Event>,
        deliver: &mut impl FnMut(WatcherId, &mut T, &Arc<Event>) -> WatcherAction,
    ) {
        let prefix = [path, b"/"].concat();
        let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
        let below = self.by_key.range::<[u8], _>(from).map(|(key, _)| key.clone());
        let below: Vec<Key> = below.take_while(|key| key.as_bytes().starts_with(&prefix)).collect();
        for key in below {
            self.notify_at(key.as_bytes(), event, WatcherScope::All, deliver);
        }
    }
}

/// The watchers of a key that an event matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatcherScope {
    All,
    Recursive,
}

/// The ancestors of `path`, nearest first, up to a hidden name.
fn visible_ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let slash = rest.iter().rposition(|byte| *byte == b'/')?;
        let name = &rest[slash + 1..];
        if name.is_empty() || name.starts_with(b"_") {
            rest = &[];
            return None;
        }
        rest = &rest[..slash];
        Some(if rest.is_empty() { b"/" } else { rest })
    })
}

/// Whether a watch of `key` matches `event`; the same rules as `Hub::notify`, for scanning the history.
pub fn matches_event(event: &Event, key: &Key, recursive: bool) -> bool {
    let changed = &event.node.key;
    if changed == key || (event.removes_directory() && key.is_below(changed)) {
        return true;
    }
    recursive
        && changed.is_below(key)
        && visible_ancestors(changed.as_bytes()).any(|above| above == key.as_bytes())
}

impl<T> Default for Hub<T> {
    fn default() -> Self {
        Self::new()
    }
}
