//! The cluster's time as this member last knew it, on disk for its next start. Within one boot the time continues from the
//! record; after a reboot the record is its lower bound. It is written without a flush: power loss may lose it. A record
//! that cannot be written must never delay expiration: it is only logged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use etcd_api::Timestamp;

use crate::boot;
use crate::codec::Reader;
use crate::config::Clock;
use crate::limits::{MAX_TIME_AHEAD, TIME_RECORD_PERIOD, TIME_RECORD_TOLERANCE};

const NAME: &str = "time";
const MAGIC: u64 = u64::from_be_bytes(*b"KSTIME01");

/// What a starting member knows of the cluster's time before it reaches another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialTime {
    Unknown,
    /// The current time.
    Now(Timestamp),
    /// The time before the machine was rebooted.
    AtLeast(Timestamp),
}

pub struct TimeRecord {
    file: File,
    boot: u128,
    last: Option<Note>,
    may_fail: bool,
}

/// The cluster's `time` at the monotonic time `even`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    time: Timestamp,
    even: Duration,
}

impl Note {
    fn at(&self, even: Duration) -> Timestamp {
        self.time.plus(even.saturating_sub(self.even))
    }
}

/// Opens the record in `data_dir` and reads it.
pub fn open(data_dir: &Path, clock: &dyn Clock) -> io::Result<(TimeRecord, InitialTime)> {
    let (boot, path) = (boot::id(), data_dir.join(NAME));
    let noted = match fs::read(&path) {
        Ok(bytes) => read(bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    let before = noted.map_or(InitialTime::Unknown, |(of, note)| before(of == boot, note, clock));
    Ok((TimeRecord { file, boot, last: None, may_fail: false }, before))
}

fn before(same_boot: bool, note: Note, clock: &dyn Clock) -> InitialTime {
    let (wall, even) = (Timestamp::from(clock.now()), clock.even());
    if same_boot && even >= note.even {
        return InitialTime::Now(note.at(even));
    }
    // A clock that once was years ahead must not keep the time there.
    if note.time > wall.plus(MAX_TIME_AHEAD) {
        tracing::warn!(
            "the cluster's time was more than a day ahead of this machine's clock, and is set to that"
        );
        return InitialTime::Unknown;
    }
    InitialTime::AtLeast(note.time)
}

/// None if the file is truncated or damaged.
fn read(bytes: Bytes) -> Option<(u128, Note)> {
    let (contents, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(contents) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader::new(bytes.slice(..contents.len()));
    let known = reader.u64().ok()? == MAGIC;
    let boot = reader.u128().ok()?;
    let time = Timestamp::from_unix_nanos(reader.u64().ok()?);
    let even = Duration::from_nanos(reader.u64().ok()?);
    (known && reader.is_empty()).then_some((boot, Note { time, even }))
}

impl TimeRecord {
    /// Records the cluster's `time` at the monotonic time `even`, if the last record differs from it or is old.
    pub fn note(&mut self, time: Timestamp, even: Duration) {
        if let Some(last) = self.last {
            let off = time.unix_nanos().abs_diff(last.at(even).unix_nanos());
            let age = even.saturating_sub(last.even);
            if Duration::from_nanos(off) < TIME_RECORD_TOLERANCE && age < TIME_RECORD_PERIOD {
                return;
            }
        }
        self.last = Some(Note { time, even });
        let mut out = BytesMut::with_capacity(64);
        out.put_u64(MAGIC);
        out.put_u128(self.boot);
        out.put_u64(time.unix_nanos());
        out.put_u64(u64::try_from(even.as_nanos()).unwrap_or(u64::MAX));
        let checksum = crc32c::crc32c(&out);
        out.put_u32(checksum);
        match self.file.write_all_at(&out, 0) {
            Err(error) if !self.may_fail => {
                tracing::warn!(%error, "cannot record the cluster's time: a restart begins with this machine's clock");
                self.may_fail = true;
            }
            written => self.may_fail = written.is_err(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// Wall clock and monotonic clock, in seconds.
    struct Shows(u64, u64);

    impl Clock for Shows {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0)
        }

        fn even(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_restart_goes_on_from_the_last_note_whatever_the_clock_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut noted, before) = open(folder.path(), &Shows(5000, 10)).unwrap();
        assert_eq!(before, InitialTime::Unknown);
        noted.note(seconds(5000), Duration::from_secs(10));
        let before = |wall, even| open(folder.path(), &Shows(wall, even)).unwrap().1;
        assert_eq!(before(9000, 13), InitialTime::Now(seconds(5003)));
        // Within the tolerance, and then not.
        noted.note(seconds(5004).plus(TIME_RECORD_TOLERANCE / 2), Duration::from_secs(14));
        assert_eq!(before(9000, 14), InitialTime::Now(seconds(5004)));
        noted.note(seconds(5010), Duration::from_secs(15));
        assert_eq!(before(0, 15), InitialTime::Now(seconds(5010)));
    }

    #[test]
    fn another_run_of_the_machine_begins_no_earlier() {
        let note = Note { time: seconds(5000), even: Duration::from_secs(10) };
        assert_eq!(before(false, note, &Shows(4000, 99)), InitialTime::AtLeast(seconds(5000)));
        // The monotonic clock is behind the record.
        assert_eq!(before(true, note, &Shows(4000, 9)), InitialTime::AtLeast(seconds(5000)));
        let far = Note { time: seconds(5000).plus(MAX_TIME_AHEAD), ..note };
        assert_eq!(before(false, far, &Shows(4000, 99)), InitialTime::Unknown);
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut noted, _) = open(folder.path(), &Shows(5000, 10)).unwrap();
        noted.note(seconds(5000), Duration::from_secs(10));
        let whole = Bytes::from(fs::read(folder.path().join(NAME)).unwrap());
        assert!(read(whole.clone()).is_some());
        for length in 0..whole.len() {
            assert_eq!(read(whole.slice(..length)), None, "cut at {length}");
        }
        let mut damaged = whole.to_vec();
        damaged[30] ^= 1;
        assert_eq!(read(damaged.into()), None);
    }
}
