//! Compares the store with a naive model: outcomes, listings, history, watches, counters, and restored checkpoints,
//! over random sequences of all commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_api::{Event, Key, StoreStatistics};
use etcd_store::watch::{Hub, WatcherAction, WatcherId};
use etcd_store::{AuthCommand, Command, Outcome, PasswordHash, Restore, Store, Table};
use proptest::prelude::*;

use crate::commands::{command, key};
use crate::naive::{Naive, sees};

/// An operation of the sequence.
#[derive(Debug, Clone)]
enum Step {
    Apply(Command),
    Get {
        key: Key,
        recursive: bool,
    },
    Scan {
        key: Key,
        recursive: bool,
        back: u64,
    },
    /// `once` watchers are removed after their first event.
    Watch {
        key: Key,
        recursive: bool,
        ahead: u64,
        once: bool,
    },
    Cancel {
        which: usize,
    },
    /// Writes a checkpoint; with `restart`, continues with the restored store.
    Checkpoint {
        restart: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => command().prop_map(Step::Apply),
        2 => (key(), any::<bool>()).prop_map(|(key, recursive)| Step::Get { key, recursive }),
        2 => (key(), any::<bool>(), 0..30_u64).prop_map(|(key, recursive, back)| Step::Scan { key, recursive, back }),
        2 => (key(), any::<bool>(), 0..4_u64, any::<bool>())
            .prop_map(|(key, recursive, ahead, once)| Step::Watch { key, recursive, ahead, once }),
        1 => (0..20_usize).prop_map(|which| Step::Cancel { which }),
        1 => any::<bool>().prop_map(|restart| Step::Checkpoint { restart }),
    ]
}

/// The records on a member's disk.
type Disk = BTreeMap<(Table, u64), Vec<u8>>;

#[derive(Debug)]
struct Watch {
    key: Key,
    recursive: bool,
    since: u64,
    once: bool,
}

struct Pair {
    store: Store,
    naive: Naive,
    disk: Disk,
    hub: Hub<bool>,
    watches: BTreeMap<WatcherId, Watch>,
}

impl Pair {
    fn new() -> Self {
        Self {
            store: Store::new(),
            naive: Naive::new(),
            disk: Disk::new(),
            hub: Hub::new(),
            watches: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(command) => self.apply(command),
            Step::Get { key, recursive } => {
                assert_eq!(self.store.get(key, *recursive), self.naive.get(key, *recursive));
            }
            Step::Scan { key, recursive, back } => {
                let since = (self.naive.index + 3).saturating_sub(*back).max(1);
                assert_eq!(
                    self.store.scan_history(key, *recursive, since),
                    self.naive.scan(key, *recursive, since),
                    "scan of {key} since {since}"
                );
            }
            Step::Watch { key, recursive, ahead, once } => {
                let since = self.naive.index + ahead;
                let id = self.hub.register(key, *recursive, since, *once);
                let watch = Watch { key: key.clone(), recursive: *recursive, since, once: *once };
                self.watches.insert(id, watch);
            }
            Step::Cancel { which } => {
                if let Some(id) = self.watches.keys().nth(*which).copied() {
                    let watch = self.watches.remove(&id).unwrap();
                    assert_eq!(self.hub.cancel(&watch.key, id), Some(watch.once));
                    assert_eq!(self.hub.cancel(&watch.key, id), None);
                }
            }
            Step::Checkpoint { restart } => self.checkpoint(*restart),
        }
    }

    fn apply(&mut self, command: &Command) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        bytes.push(b'.');
        let mut rest = bytes.as_slice();
        assert_eq!(Command::decode(&mut rest).as_ref(), Ok(command));
        assert_eq!(rest, b".");
        let expect = self.naive.apply(command);
        let outcome = self.store.apply(command);
        assert_eq!(outcome, expect, "{command:?}");
        assert_eq!(self.store.index(), self.naive.index);
        assert_eq!(self.store.get(&Key::root(), true), self.naive.get(&Key::root(), true));
        self.notify(&outcome);
    }

    fn notify(&mut self, outcome: &Outcome) {
        for event in outcome.watch_events() {
            let expect: BTreeSet<WatcherId> = self
                .watches
                .iter()
                .filter(|(_, watch)| watch.since <= event.index() && sees(&watch.key, watch.recursive, event))
                .map(|(id, _)| *id)
                .collect();
            let mut actual = BTreeSet::new();
            self.hub.notify(event, |id, once, event: &Arc<Event>| {
                assert!(actual.insert(id), "{id:?} is told twice of {event:?}");
                if *once { WatcherAction::Remove } else { WatcherAction::Keep }
            });
            assert_eq!(actual, expect, "{event:?}, {:?}", self.watches);
            self.watches.retain(|id, watch| !(watch.once && actual.contains(id)));
            assert_eq!(self.hub.len(), self.watches.len());
        }
    }

    fn checkpoint(&mut self, restart: bool) {
        let changes = self.store.take_changes();
        let count = changes.len();
        let records: Vec<_> = changes.records().collect();
        assert_eq!(records.len(), count);
        for record in records {
            match record.bytes {
                Some(bytes) => drop(self.disk.insert((record.table, record.key), bytes)),
                None => drop(self.disk.remove(&(record.table, record.key))),
            }
        }
        assert!(self.store.take_changes().is_empty());
        let mut restored = restore(&self.disk);
        assert_eq!(all_permissions(&restored), all_permissions(&self.store));
        assert_eq!(restored.next_expiration(), self.store.next_expiration());
        assert_eq!((restored.index(), writes(&restored)), (self.store.index(), writes(&self.store)));
        assert!(restored.take_changes().is_empty());
        if restart {
            self.store = restored;
        }
    }

    fn end(&mut self) {
        self.checkpoint(false);
        assert_eq!(writes(&self.store), self.naive.statistics());
    }
}

fn restore(disk: &Disk) -> Store {
    let mut restore = Restore::new();
    for ((table, key), bytes) in disk {
        restore.add(*table, *key, bytes).unwrap();
    }
    restore.finish().unwrap()
}

/// The complete state as records, without counters, which reads modify without writing.
fn all_permissions(store: &Store) -> Disk {
    let records = store.snapshot().records().filter(|record| (record.table, record.key) != (Table::Meta, 0));
    records.map(|record| ((record.table, record.key), record.bytes.unwrap())).collect()
}

fn writes(store: &Store) -> StoreStatistics {
    StoreStatistics { gets_success: 0, gets_fail: 0, ..store.statistics() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_equals_the_naive_model(steps in proptest::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
        pair.end();
    }
}

/// The random sequences rarely revoke it twice.
#[test]
fn the_user_root_keeps_its_role() {
    let mut pair = Pair::new();
    let put = |password: Option<&str>, revoke: &[&str]| {
        let password = password.map(|text| PasswordHash(text.to_owned()));
        let revoke = revoke.iter().map(|role| (*role).to_owned()).collect();
        Command::Auth(AuthCommand::PutUser {
            name: "root".to_owned(),
            password,
            roles: vec![],
            grant: vec![],
            revoke,
        })
    };
    for command in [put(Some("hash"), &[]), put(None, &["root"]), put(None, &["root"])] {
        pair.apply(&command);
        pair.checkpoint(true);
    }
    pair.end();
}

/// The random sequences are too short for this.
#[test]
fn both_models_clear_the_oldest_events() {
    let mut pair = Pair::new();
    for number in 1..=2_500_u64 {
        let key = Key::parse(format!("/k{}", number % 7)).unwrap();
        let put = etcd_store::Put {
            key: key.clone(),
            value: number.to_string().into(),
            dir: false,
            expiration: None,
            prev_exist: None,
            prev_value: None,
            prev_index: None,
            refresh: number % 10 == 3 && number > 10,
        };
        pair.apply(&Command::Put(put));
        if number % 333 == 0 {
            pair.checkpoint(number % 2 == 0);
        }
        if number % 100 == 0 {
            for back in [number - 1, 1_000, 999, 1, 0] {
                let since = (number + 1).saturating_sub(back).max(1);
                assert_eq!(pair.store.scan_history(&key, false, since), pair.naive.scan(&key, false, since));
            }
        }
    }
    pair.end();
    assert_eq!(
        pair.disk.keys().filter(|(table, _)| *table == Table::History).count(),
        etcd_store::HISTORY_EVENTS
    );
}
