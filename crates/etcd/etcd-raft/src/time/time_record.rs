//! The last known cluster time on disk, for the next start. Within one boot the time continues from the record; after
//! a reboot the record is a lower bound. It is written without a flush, so power loss may lose it. A failed write is
//! only logged and never delays expiration.

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
use crate::limits::{MAX_TIME_AHEAD, TIME_RECORD_INTERVAL, TIME_RECORD_TOLERANCE};

const FILE_NAME: &str = "time";
const MAGIC: u64 = u64::from_be_bytes(*b"KSTIME01");

/// What a starting member knows of the cluster's time.
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
    last: Option<Record>,
    failing: bool,
}

/// The cluster's `time` at the monotonic time `monotonic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    time: Timestamp,
    monotonic: Duration,
}

impl Record {
    fn at(&self, monotonic: Duration) -> Timestamp {
        self.time.plus(monotonic.saturating_sub(self.monotonic))
    }
}

/// Opens and reads the record in `data_dir`.
pub fn open(data_dir: &Path, clock: &dyn Clock) -> io::Result<(TimeRecord, InitialTime)> {
    let (boot, path) = (boot::id(), data_dir.join(FILE_NAME));
    let record = match fs::read(&path) {
        Ok(bytes) => read(bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
    let initial = record.map_or(InitialTime::Unknown, |(of, record)| initial_time(of == boot, record, clock));
    Ok((TimeRecord { file, boot, last: None, failing: false }, initial))
}

fn initial_time(same_boot: bool, record: Record, clock: &dyn Clock) -> InitialTime {
    let (wall, monotonic) = (Timestamp::from(clock.now()), clock.monotonic());
    if same_boot && monotonic >= record.monotonic {
        return InitialTime::Now(record.at(monotonic));
    }
    // A clock that was once years ahead must not keep the time there.
    if record.time > wall.plus(MAX_TIME_AHEAD) {
        tracing::warn!(
            "the cluster's time was more than a day ahead of this machine's clock, and is set to that"
        );
        return InitialTime::Unknown;
    }
    InitialTime::AtLeast(record.time)
}

/// `None` if the file is truncated or damaged.
fn read(bytes: Bytes) -> Option<(u128, Record)> {
    let (contents, checksum) = bytes.split_last_chunk()?;
    if crc32c::crc32c(contents) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader::new(bytes.slice(..contents.len()));
    let known = reader.u64().ok()? == MAGIC;
    let boot = reader.u128().ok()?;
    let time = Timestamp::from_unix_nanos(reader.u64().ok()?);
    let monotonic = Duration::from_nanos(reader.u64().ok()?);
    (known && reader.is_empty()).then_some((boot, Record { time, monotonic }))
}

impl TimeRecord {
    /// Records the cluster's `time` at the monotonic time `monotonic`, if the last record deviates or is old.
    pub fn update(&mut self, time: Timestamp, monotonic: Duration) {
        if let Some(last) = self.last {
            let off = time.unix_nanos().abs_diff(last.at(monotonic).unix_nanos());
            let age = monotonic.saturating_sub(last.monotonic);
            if Duration::from_nanos(off) < TIME_RECORD_TOLERANCE && age < TIME_RECORD_INTERVAL {
                return;
            }
        }
        self.last = Some(Record { time, monotonic });
        let mut out = BytesMut::with_capacity(64);
        out.put_u64(MAGIC);
        out.put_u128(self.boot);
        out.put_u64(time.unix_nanos());
        out.put_u64(u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX));
        let checksum = crc32c::crc32c(&out);
        out.put_u32(checksum);
        match self.file.write_all_at(&out, 0) {
            Err(error) if !self.failing => {
                tracing::warn!(%error, "cannot record the cluster's time: a restart begins with this machine's clock");
                self.failing = true;
            }
            written => self.failing = written.is_err(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    /// Wall clock and monotonic clock, in seconds.
    struct FixedClock(u64, u64);

    impl Clock for FixedClock {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(self.0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_restart_continues_from_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let (mut record, before) = open(folder.path(), &FixedClock(5000, 10)).unwrap();
        assert_eq!(before, InitialTime::Unknown);
        record.update(seconds(5000), Duration::from_secs(10));
        let before = |wall, monotonic| open(folder.path(), &FixedClock(wall, monotonic)).unwrap().1;
        assert_eq!(before(9000, 13), InitialTime::Now(seconds(5003)));
        // First within the tolerance, then beyond it.
        record.update(seconds(5004).plus(TIME_RECORD_TOLERANCE / 2), Duration::from_secs(14));
        assert_eq!(before(9000, 14), InitialTime::Now(seconds(5004)));
        record.update(seconds(5010), Duration::from_secs(15));
        assert_eq!(before(0, 15), InitialTime::Now(seconds(5010)));
    }

    #[test]
    fn the_record_is_a_lower_bound_after_a_reboot() {
        let record = Record { time: seconds(5000), monotonic: Duration::from_secs(10) };
        assert_eq!(initial_time(false, record, &FixedClock(4000, 99)), InitialTime::AtLeast(seconds(5000)));
        // The monotonic clock is behind the record.
        assert_eq!(initial_time(true, record, &FixedClock(4000, 9)), InitialTime::AtLeast(seconds(5000)));
        let far = Record { time: seconds(5000).plus(MAX_TIME_AHEAD), ..record };
        assert_eq!(initial_time(false, far, &FixedClock(4000, 99)), InitialTime::Unknown);
    }

    #[test]
    fn truncated_and_damaged_records_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let (mut record, _) = open(folder.path(), &FixedClock(5000, 10)).unwrap();
        record.update(seconds(5000), Duration::from_secs(10));
        let complete = Bytes::from(fs::read(folder.path().join(FILE_NAME)).unwrap());
        assert!(read(complete.clone()).is_some());
        for length in 0..complete.len() {
            assert_eq!(read(complete.slice(..length)), None, "cut at {length}");
        }
        let mut damaged = complete.to_vec();
        damaged[30] ^= 1;
        assert_eq!(read(damaged.into()), None);
    }
}
