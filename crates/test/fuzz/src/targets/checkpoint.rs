//! The records of a checkpoint, from this member's disk or from a leader.

use etcd_store::{Record, Restore, Store, Table};

use super::commands;
use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "checkpoint",
    about: "records give a state that works and survives its own checkpoint, or a named error",
    run,
    seeds,
};

/// Repeated: table, key, length, contents.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut restore = Restore::new();
    while !input.is_empty() {
        let table = Table::ALL[usize::from(input.byte()) % Table::ALL.len()];
        let (key, length) = (input.short(), input.short());
        let record = input.bytes(length.into());
        if let Err(error) = restore.add(table, key.into(), record) {
            assert!(!error.to_string().is_empty());
            return;
        }
    }
    let Ok(mut store) = restore.finish() else { return };
    commands::round_trips(&store);
    for command in commands::samples() {
        store.apply(&command);
    }
    commands::round_trips(&store);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut store = Store::new();
    let mut seeds = vec![written(store.snapshot().records())];
    for command in commands::samples() {
        store.apply(&command);
        seeds.push(written(store.snapshot().records()));
    }
    seeds
}

fn written(records: impl Iterator<Item = Record>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let bytes = record.bytes.unwrap_or_default();
        let table = Table::ALL.iter().position(|table| *table == record.table).unwrap_or(0);
        out.push(table as u8);
        out.extend_from_slice(&(record.key as u16).to_le_bytes());
        out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}
