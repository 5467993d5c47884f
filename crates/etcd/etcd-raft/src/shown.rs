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

const NAME: &str = "shown";
const MAGIC: u64 = u64::from_be_bytes(*b"KSSHOWN1");

pub struct Shown {
    file: File,
    path: PathBuf,
    /// After another boot, unflushed writes may be lost.
    boot: u128,
    /// The last place that readers may see; places that are applied once more are not noted again.
    last: Option<LogId>,
    /// Whether there may be readers, and the file can be written.
    notes: bool,
    #[cfg(test)]
    pub written: usize,
}

/// The place that readers saw last, if that is certain, and where the next ones are noted.
pub fn open(data_dir: &Path) -> io::Result<(Shown, Option<LogId>)> {
    let boot = boot::id();
    let path = data_dir.join(NAME);
    let last = match fs::read(&path) {
        Ok(bytes) => read(bytes.into(), boot),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    // Without a place that is certain there are no readers yet: the cluster is asked first.
    let shown = Shown {
        file,
        path,
        boot,
        last,
        notes: last.is_some(),
        #[cfg(test)]
        written: 0,
    };
    Ok((shown, last))
}

/// Nothing of another run of the machine, and nothing that is not whole: then the cluster has to be asked.
fn read(bytes: Bytes, boot: u128) -> Option<LogId> {
    let (contents, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(contents) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader::new(bytes.slice(..contents.len()));
    let known = reader.u64().ok()? == MAGIC && reader.u128().ok()? == boot;
    let place = reader.log_id().ok()?;
    (known && reader.is_empty()).then_some(place)
}

impl Shown {
    /// There may be readers from now on, of what was applied up to `applied`, and of what is being applied.
    pub fn begin(&mut self, applied: Option<&LogId>) {
        self.notes = true;
        self.last = self.last.max(applied.copied());
        if let Some(last) = self.last {
            self.note(&last);
        }
    }

    /// To be called before anybody can read what the entry `log_id` does; it may be called for the last of several
    /// committed ones. What is noted and was not applied costs a restart no more than a question to the others.
    pub fn upto(&mut self, log_id: &LogId) {
        if self.last.is_some_and(|last| last >= *log_id) {
            return;
        }
        self.last = Some(*log_id);
        if self.notes {
            self.note(log_id);
        }
    }

    fn note(&mut self, log_id: &LogId) {
        #[cfg(test)]
        {
            self.written += 1;
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
        self.notes = false;
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, "what this member has shown cannot be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_types::LeaderId;

    fn place(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 2, node_id: 7 }, index }
    }

    #[test]
    fn the_last_place_comes_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shown, before) = open(folder.path()).unwrap();
        assert_eq!(before, None);
        shown.upto(&place(4));
        assert_eq!(open(folder.path()).unwrap().1, None, "nobody reads yet");
        shown.begin(Some(&place(5)));
        assert_eq!(open(folder.path()).unwrap().1, Some(place(5)));
        shown.upto(&place(6));
        shown.upto(&place(6));
        assert_eq!(shown.written, 2);
        let (mut again, before) = open(folder.path()).unwrap();
        assert_eq!(before, Some(place(6)));
        again.upto(&place(3));
        assert_eq!(open(folder.path()).unwrap().1, Some(place(6)), "what is applied once more");
        let whole = Bytes::from(fs::read(folder.path().join(NAME)).unwrap());
        assert_eq!(read(whole.clone(), shown.boot), Some(place(6)));
        assert_eq!(read(whole.clone(), shown.boot + 1), None, "another run of the machine");
        for length in 0..whole.len() {
            assert_eq!(read(whole.slice(..length), shown.boot), None, "cut at {length}");
        }
        let mut damaged = whole.to_vec();
        damaged[40] ^= 1;
        assert_eq!(read(damaged.into(), shown.boot), None, "damaged");
    }

    #[test]
    fn readers_that_come_while_entries_are_applied_may_see_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shown, _) = open(folder.path()).unwrap();
        // Three are about to be applied; readers come when one of them is.
        shown.upto(&place(3));
        shown.begin(Some(&place(1)));
        assert_eq!(open(folder.path()).unwrap().1, Some(place(3)));
    }
}
