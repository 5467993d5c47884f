//! The read watermark: the highest log position that local reads may have returned. After a restart within the same
//! boot, reads that have reached it again need no confirmation by the cluster. It is written before entries are
//! applied and without a flush, so it survives the process but not the machine.

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
    /// Unflushed writes may be lost in another boot.
    boot: u128,
    /// The watermark. Entries that are applied again do not lower it.
    last: Option<LogId>,
    /// Whether reads may be served and the file can be written.
    recording: bool,
    #[cfg(test)]
    pub writes: usize,
}

/// Opens the file and returns the previous watermark if it is reliable.
pub fn open(data_dir: &Path) -> io::Result<(ReadWatermark, Option<LogId>)> {
    let boot = boot::id();
    let path = data_dir.join(FILE_NAME);
    let last = match fs::read(&path) {
        Ok(bytes) => read(bytes.into(), boot),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    // Without a reliable watermark no reads are served until the cluster confirms the state.
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

/// `None` if the file is from another boot, truncated or damaged.
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
    /// Starts recording: reads may be served of everything applied or being applied.
    pub fn start(&mut self, applied: Option<&LogId>) {
        self.recording = true;
        self.last = self.last.max(applied.copied());
        if let Some(last) = self.last {
            self.write(&last);
        }
    }

    /// Must be called before the effects of the entry `log_id` become readable; once for the last of several
    /// committed entries. If it is then not applied, a restart has to ask the cluster.
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
        // The recorded watermark is too low now, so it must not be used.
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
    fn the_watermark_survives_a_restart() {
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
    fn the_watermark_includes_entries_being_applied() {
        let folder = tempfile::tempdir().unwrap();
        let (mut read_watermark, _) = open(folder.path()).unwrap();
        // Reads start while the first of three entries is being applied.
        read_watermark.advance(&log_id(3));
        read_watermark.start(Some(&log_id(1)));
        assert_eq!(open(folder.path()).unwrap().1, Some(log_id(3)));
    }
}
