//! A disk that records what is written, and what a power cut leaves of it.

use std::io::{self, Cursor};
use std::sync::Mutex;

use disk_install::Target;
use disk_slots::Disk;
use disk_slots::gpt::Partition;

pub const MIB: usize = 1 << 20;

#[derive(Debug, Clone)]
pub enum Event {
    Write(usize, Vec<u8>),
    Sync,
}

/// What a disk does at a byte whenever it is written.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Changes it.
    Changes(usize),
    /// Fails.
    Fails(usize),
}

/// Records what happens to it.
#[derive(Debug)]
pub struct RecordingDisk {
    recorded: Mutex<(Vec<u8>, Vec<Event>)>,
    fault: Option<Fault>,
}

impl RecordingDisk {
    pub fn new(content: Vec<u8>) -> Self {
        Self { recorded: Mutex::new((content, Vec::new())), fault: None }
    }

    pub fn with(fault: Fault, content: Vec<u8>) -> Self {
        Self { fault: Some(fault), ..Self::new(content) }
    }

    pub fn content(&self) -> Vec<u8> {
        self.recorded.lock().unwrap().0.clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.recorded.lock().unwrap().1.clone()
    }
}

fn apply(content: &mut [u8], offset: usize, bytes: &[u8]) {
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Disk for RecordingDisk {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        into.copy_from_slice(&self.recorded.lock().unwrap().0[offset..offset + into.len()]);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.put_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.recorded.lock().unwrap().1.push(Event::Sync);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.recorded.lock().unwrap().0.len() as u64)
    }
}

impl Target for RecordingDisk {
    fn zero_at(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.put_at(&vec![0; usize::try_from(bytes).unwrap()], offset)
    }

    fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut recorded = self.recorded.lock().unwrap();
        let written = offset..offset + bytes.len();
        match self.fault {
            Some(Fault::Fails(at)) if written.contains(&at) => return Err(io::Error::other("a bad sector")),
            _ => apply(&mut recorded.0, offset, bytes),
        }
        if let Some(Fault::Changes(at)) = self.fault
            && written.contains(&at)
        {
            recorded.0[at] ^= 1;
        }
        recorded.1.push(Event::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn forget_cache(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with a table and content that depends on `seed`; a third of it is zeros.
pub fn disk(length: usize, seed: u8, parts: &[(&str, usize)]) -> Vec<u8> {
    let device = Cursor::new(vec![0; length]);
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(device, None).unwrap();
    for (label, bytes) in parts {
        table.add_partition(label, *bytes as u64, gpt::partition_types::BASIC, 0, None).unwrap();
    }
    let mut bytes = table.write().unwrap().into_inner();
    let content = bytes.iter_mut().enumerate().take(length - MIB).skip(MIB);
    for (at, byte) in content.filter(|(at, _)| at / MIB % 3 != 2) {
        *byte = (at.wrapping_mul(31) >> 3) as u8 ^ seed;
    }
    bytes
}

pub fn range(part: &Partition) -> std::ops::Range<usize> {
    let start = usize::try_from(part.offset).unwrap();
    start..start + usize::try_from(part.bytes).unwrap()
}

/// Calls `check` with what each power cut leaves of a disk: between events, and within writes, alone and after the others,
/// since a disk reorders what was not flushed. Returns the number of cuts.
pub fn each_cut(old: &[u8], events: &[Event], mut check: impl FnMut(Vec<u8>, &str)) -> usize {
    let mut durable = old.to_vec();
    let mut unsynced: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut cuts = 0;
    for (number, event) in events.iter().enumerate() {
        let about = format!("event {number}");
        match event {
            Event::Sync => unsynced.drain(..).for_each(|(offset, bytes)| apply(&mut durable, offset, &bytes)),
            Event::Write(offset, bytes) => {
                for length in [1, 512, bytes.len() / 2, bytes.len()] {
                    let torn = &bytes[..length.min(bytes.len())];
                    let mut alone = durable.clone();
                    apply(&mut alone, *offset, torn);
                    let mut ordered = durable.clone();
                    unsynced.iter().for_each(|(offset, bytes)| apply(&mut ordered, *offset, bytes));
                    apply(&mut ordered, *offset, torn);
                    for cut in [alone, ordered] {
                        check(cut, &about);
                        cuts += 1;
                    }
                }
                unsynced.push((*offset, bytes.clone()));
            }
        }
        let mut all = durable.clone();
        unsynced.iter().for_each(|(offset, bytes)| apply(&mut all, *offset, bytes));
        check(all, &about);
    }
    assert!(unsynced.is_empty(), "the last write is durable");
    cuts
}
