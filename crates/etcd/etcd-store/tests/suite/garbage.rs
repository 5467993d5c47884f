//! Invalid commands and damaged checkpoints: errors, never a panic or a wrong state.

use std::collections::BTreeMap;

use etcd_store::{Command, DecodeError, Restore, RestoreError, Store, Table};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::commands::command;

type Disk = BTreeMap<(Table, u64), Vec<u8>>;

fn encoded(command: &Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes
}

fn restore(disk: &Disk) -> Result<Store, RestoreError> {
    let mut restore = Restore::new();
    for ((table, key), bytes) in disk {
        restore.add(*table, *key, bytes)?;
    }
    restore.finish()
}

fn disk_after(commands: &[Command]) -> Disk {
    let mut store = Store::new();
    for command in commands {
        store.apply(command);
    }
    let records = store.take_changes().records();
    records.map(|record| ((record.table, record.key), record.bytes.unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_rejected(mut bytes in vec(any::<u8>(), 0..200), kind in 0..20_u8, version in 1..3_u8) {
        // Most random bytes fail immediately, so the first two are valid.
        if bytes.len() >= 2 {
            bytes[0] = version;
            bytes[1] = kind;
        }
        let mut rest = bytes.as_slice();
        if let Ok(command) = Command::decode(&mut rest) {
            let used = bytes.len() - rest.len();
            prop_assert!(used >= 2);
            prop_assert_eq!(Command::decode(&mut encoded(&command).as_slice()), Ok(command));
        } else {
            prop_assert_eq!(rest.len(), bytes.len());
        }
    }

    #[test]
    fn truncated_commands_are_rejected(command in command()) {
        let bytes = encoded(&command);
        for end in 0..bytes.len() {
            prop_assert!(Command::decode(&mut &bytes[..end]).is_err(), "{:?} cut at {}", command, end);
        }
    }

    #[test]
    fn a_damaged_checkpoint_never_panics(
        commands in vec(command(), 1..40),
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let whole = disk_after(&commands);
        prop_assert!(restore(&whole).is_ok());
        let record = *whole.keys().nth(which.index(whole.len())).unwrap();
        let mut damaged = whole.clone();
        let bytes = damaged.get_mut(&record).unwrap();
        let at = place.index(bytes.len());
        bytes[at] = byte;
        // A changed byte may be another valid record; the disk's checksums protect checkpoints.
        if let Ok(mut store) = restore(&damaged) {
            store.apply(&commands[0]);
        }
        let mut longer = whole.clone();
        longer.get_mut(&record).unwrap().push(0);
        prop_assert!(restore(&longer).is_err());
        let mut shorter = whole.clone();
        shorter.get_mut(&record).unwrap().pop();
        prop_assert!(restore(&shorter).is_err());
        let mut without = whole;
        without.remove(&record);
        match record {
            (Table::Meta, 1..=3) | (Table::Nodes, _) => {}
            // Removing the last record leaves an empty store.
            _ if without.is_empty() => {}
            (table, key) => {
                prop_assert_eq!(restore(&without).unwrap_err(), RestoreError::Missing { table, key });
            }
        }
    }
}

#[test]
fn unknown_versions_are_reported() {
    let error = Command::decode(&mut &[3, 1, 0][..]).unwrap_err();
    assert_eq!(error, DecodeError::UnknownVersion { found: 3, known: 2 });
    assert_eq!(error.to_string(), "command format 3 is not known here (this version writes 2)");
    assert_eq!(Command::decode(&mut &[][..]), Err(DecodeError::Truncated { at: 0 }));
    let disk = Disk::from([((Table::Meta, 0), vec![9, 1, 2, 3])]);
    assert_eq!(restore(&disk).unwrap_err(), RestoreError::UnknownVersion { found: 9, known: 2 });
    assert_eq!(restore(&Disk::new()).unwrap().index(), 0);
}

/// An older program reads everything without new types, and rejects those.
#[test]
fn older_formats_are_written_without_disks() {
    let (name, peer_urls, client_urls) = (String::new(), Vec::new(), Vec::new());
    let add = Command::AddMember(etcd_api::Member { id: 1, name, peer_urls, client_urls });
    let record = Command::RecordDisk { id: 1, disk: 7, instead_of: None };
    assert_eq!((encoded(&add)[0], encoded(&record)[0]), (1, 2));
    let before = disk_after(std::slice::from_ref(&add));
    let after = disk_after(&[add, record]);
    assert_eq!((before[&(Table::Meta, 0)][0], after[&(Table::Meta, 0)][0]), (1, 2));
    assert!(!before.contains_key(&(Table::Meta, 3)));
    assert_eq!(restore(&before).unwrap().membership().disk(1), None);
    assert_eq!(restore(&after).unwrap().membership().disk(1), Some(7));
}

#[test]
fn invalid_records_are_rejected() {
    // Parent 0, name, indexes 1 and 1, no expiration, an empty file.
    let file =
        |name: &str| [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &[1, 1, 0, 0, 0]].concat();
    let rejected = |key: u64, bytes: Vec<u8>, what: &'static str| {
        let mut restore = Restore::new();
        restore.add(Table::Nodes, 1, &file("a")).unwrap();
        let error = restore.add(Table::Nodes, key, &bytes).unwrap_err();
        assert_eq!(error, RestoreError::Malformed { table: Table::Nodes, key, what });
    };
    rejected(2, file("a"), "the name is taken");
    rejected(1, file("b"), "it stands out of order");
    rejected(2, file("b/c"), "name");
    rejected(2, file(".."), "name");
    rejected(2, [&[1], &file("b")[1..]].concat(), "no such parent");
    rejected(2, [&[7], &file("b")[1..]].concat(), "no such parent");
    let mut longest = vec![1, 2];
    // A list with an excessive length allocates nothing for it.
    longest.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(Command::decode(&mut longest.as_slice()).is_err());
}
