//! The journal from which the discovery service starts.

use std::fs;

use etcd_api::Timestamp;
use etcd_discovery::Tokens;

use super::commands;
use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "discovery",
    about: "the discovery service's journal gives its tokens or a named error, and twice the same",
    run,
    seeds,
};

const MAGIC: &[u8] = b"keelson-disc v1\n";
const AS_IT_IS: u8 = 0;
const IN_RECORDS: u8 = 1;

/// Byte 0: the file verbatim, or contents of records with valid checksums.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let file = if input.byte() % 2 == AS_IT_IS { input.rest().to_vec() } else { in_records(input) };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    fs::write(&path, &file).expect("a file");
    let first = match Tokens::open(&path) {
        Ok(mut tokens) => {
            let count = tokens.count();
            let now = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
            drop(tokens.create(3, now).expect("a token"));
            tokens.sync(now).expect("expiry");
            count
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(fs::read(&path).expect("it is there"), file, "what cannot be read is not touched");
            return;
        }
    };
    let second = Tokens::open(&path).expect("what opened opens again").count();
    assert!(second > 0 && second <= first + 1, "{first} tokens and one more became {second}");
}

fn in_records(mut input: Input<'_>) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    while !input.is_empty() {
        let length = input.short();
        let record = input.bytes(length.into());
        file.extend_from_slice(&(record.len() as u32).to_be_bytes());
        file.extend_from_slice(&crc32fast::hash(record).to_be_bytes());
        file.extend_from_slice(record);
    }
    file
}

fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let mut tokens = Tokens::open(&path).expect("a new journal");
    for size in [1, 3] {
        drop(tokens.create(size, Timestamp::from_unix_nanos(1)).expect("a token"));
    }
    drop(tokens);
    let grown = fs::read(&path).expect("it is there");
    drop(Tokens::open(&path).expect("it opens"));
    let compact = fs::read(&path).expect("it is there");
    let mut seeds = vec![vec![AS_IT_IS], vec![IN_RECORDS]];
    for file in [grown, compact] {
        seeds.push([&[AS_IT_IS], &file[..]].concat());
        seeds.push([&[IN_RECORDS][..], &records_of(&file)].concat());
    }
    let mut commands = vec![IN_RECORDS];
    for command in commands::samples() {
        let mut record = vec![b'C'];
        command.encode(&mut record);
        commands.extend_from_slice(&(record.len() as u16).to_le_bytes());
        commands.extend_from_slice(&record);
    }
    seeds.push(commands);
    seeds
}

/// The file's records, in the form that [`in_records`] reads.
fn records_of(file: &[u8]) -> Vec<u8> {
    let mut rest = file.strip_prefix(MAGIC).expect("a journal");
    let mut out = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.extend_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    out
}
