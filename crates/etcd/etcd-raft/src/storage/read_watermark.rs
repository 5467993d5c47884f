//! Up to where readers of this member have seen the log. It outlives the process, not the machine: it is written
//! without a flush, and a restart finds by itself what it has shown before, without asking anybody. It must never be
//! behind what a reader was shown.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};

use crate::boot;
use crate::codec::{self, Reader};
use crate::raft_types::LogId;

const FILE_NAME: &str = "shown";
const MAGIC: u64 = u64::from_be_bytes(*b"KSSHOWN1");

pub struct ReadWatermark {
    file: File,
    path: PathBuf,
    /// After another boot, unflushed writes may be lost.
    boot: u128,
    /// The last place that readers may see; places that are applied once more are not noted again.
    last: Option<LogId>,
    /// Whether there may be readers, and the file can be written.
    recording: bool,
    #[cfg(test)]
    pub writes: usize,
}

/// The place that readers saw last, if that is certain, and where the next ones are noted.
pub fn open(data_dir: &Path) -> io::Result<(ReadWatermark, Option<LogId>)> {
    let boot = boot::id();
    let path = data_dir.join(FILE_NAME);
    let last = match fs::read(&path) {
        Ok(bytes) => read(bytes.into(), boot),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    // Without a place that is certain there are no readers yet: the cluster is asked first.
    let read_watermark = ReadWatermark {
        file,
        path,
        boot,
        last,
        recording: last.is_some(),
        #[cfg(test)]
        writes: 0,
    };
    Ok((read_watermark, last))
}

/// Nothing of another run of the machine, and nothing that is not whole: then the cluster has to be asked.
fn read(bytes: Bytes, boot: u128) -> Option<LogId> {
    let (contents, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(contents) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader::new(bytes.slice(..contents.len()));
    let known = reader.u64().ok()? == MAGIC && reader.u128().ok()? == boot;
    let log_id = reader.log_id().ok()?;
    (known && reader.is_empty()).then_some(log_id)
}

impl ReadWatermark {
    /// There may be readers from now on, of what was applied up to `applied`, and of what is being applied.
    pub fn start(&mut self, applied: Option<&LogId>) {
        self.recording = true;
        self.last = self.last.max(applied.copied());
        if let Some(last) = self.last {
            self.write(&last);
        }
    }

    /// To be called before anybody can read what the entry `log_id` does; it may be called for the last of several
    /// committed ones. What is noted and was not applied costs a restart no more than a question to the others.
    pub fn advance(&mut self, log_id: &LogId) {
        if self.last.is_some_and(|last| last >= *log_id) {
            return;
        }
        self.last = Some(*log_id);
        if self.recording {
            self.write(log_id);
        }
    }

    fn write(&mut self, log_id: &LogId) {
        #[cfg(test)]
        {
            self.writes += 1;
        }
        let mut out = BytesMut::with_capacity(64);
        out.put_u64(MAGIC);
        out.put_u128(self.boot);
        codec::put_log_id(&mut out, log_id);
        let checksum = crc32c::crc32c(&out);
        out.put_u32(checksum);
        let Err(error) = self.file.write_all_at(&out, 0) else { return };
        tracing::warn!(%error, "a restart will have to ask the cluster what this member has shown");
        // What stands there is too old now. Without it, nothing is taken for certain.
        self.recording = false;
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, "what this member has shown cannot be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_types::LeaderId;

    fn log_id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 2, node_id: 7 }, index }
    }

    #[test]
    fn the_last_place_comes_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (mut read_watermark, previous) = open(folder.path()).unwrap();
        assert_eq!(previous, None);
        read_watermark.advance(&log_id(4));
        assert_eq!(open(folder.path()).unwrap().1, None, "nobody reads yet");
        read_watermark.start(Some(&log_id(5)));
        assert_eq!(open(folder.path()).unwrap().1, Some(log_id(5)));
        read_watermark.advance(&log_id(6));
        read_watermark.advance(&log_id(6));
        assert_eq!(read_watermark.writes, 2);
        let (mut again, previous) = open(folder.path()).unwrap();
        assert_eq!(previous, Some(log_id(6)));
        again.advance(&log_id(3));
        assert_eq!(open(folder.path()).unwrap().1, Some(log_id(6)), "what is applied once more");
        let complete = Bytes::from(fs::read(folder.path().join(FILE_NAME)).unwrap());
        assert_eq!(read(complete.clone(), read_watermark.boot), Some(log_id(6)));
        assert_eq!(read(complete.clone(), read_watermark.boot + 1), None, "another run of the machine");
        for length in 0..complete.len() {
            assert_eq!(read(complete.slice(..length), read_watermark.boot), None, "cut at {length}");
        }
        let mut damaged = complete.to_vec();
        damaged[40] ^= 1;
        assert_eq!(read(damaged.into(), read_watermark.boot), None, "damaged");
    }

    #[test]
    fn readers_that_come_while_entries_are_applied_may_see_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let (mut read_watermark, _) = open(folder.path()).unwrap();
        // Three are about to be applied; readers come when one of them is.
        read_watermark.advance(&log_id(3));
        read_watermark.start(Some(&log_id(1)));
        assert_eq!(open(folder.path()).unwrap().1, Some(log_id(3)));
    }
}
