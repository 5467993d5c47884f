//! The range of the old image that a delta segment is based on, in a sliding buffer.
//!
//! Ranges of neighboring segments overlap: the common part is kept, so each byte is read once.

use std::io;

use crate::index::OldRange;
use crate::target::ReadAt;

#[derive(Debug, Default)]
pub(crate) struct OldWindow {
    /// Offset of the buffer in the old image.
    offset: u64,
    buffer: Vec<u8>,
}

impl OldWindow {
    /// Drops the content before switching to another image.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
    }

    /// The loaded bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The bytes of `range`. Empty after an error.
    pub(crate) fn load(&mut self, old: &dyn ReadAt, range: &OldRange) -> io::Result<&[u8]> {
        let length = range.length as usize;
        let kept = range
            .offset
            .checked_sub(self.offset)
            .and_then(|skipped| usize::try_from(skipped).ok())
            .filter(|skipped| *skipped < self.buffer.len())
            .map_or(0, |skipped| {
                let kept = (self.buffer.len() - skipped).min(length);
                self.buffer.copy_within(skipped..skipped + kept, 0);
                kept
            });
        self.buffer.reserve_exact(length.saturating_sub(self.buffer.len()));
        self.buffer.resize(length, 0);
        self.offset = range.offset;
        let read = old.read_at(&mut self.buffer[kept..], range.offset + kept as u64);
        if read.is_err() {
            self.buffer.clear();
        }
        read.map(|()| &self.buffer[..])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use release::Digest;

    /// Records reads.
    struct RecordingReader(Vec<u8>, Mutex<Vec<(u64, usize)>>);

    impl ReadAt for RecordingReader {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.1.lock().unwrap().push((offset, buffer.len()));
            let from = usize::try_from(offset).unwrap();
            let part = self.0.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(part);
            Ok(())
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    #[test]
    fn overlapping_ranges_are_read_once() {
        let old = RecordingReader((0..100).collect(), Mutex::default());
        let mut window = OldWindow::default();
        let range = |offset, length| OldRange { offset, length, sha256: Digest([0; 32]) };
        for (offset, length, read) in [
            (0, 32, Some((0, 32))),
            (0, 48, Some((32, 16))),
            (16, 48, Some((48, 16))),
            (20, 10, Some((30, 0))),
            (70, 20, Some((70, 20))),
            (60, 20, Some((60, 20))),
            (80, 30, Some((80, 30))),
            (80, 20, Some((80, 20))),
        ] {
            let loaded = window.load(&old, &range(offset, length)).map(<[u8]>::to_vec);
            let expect = old.0.get(offset as usize..(offset + u64::from(length)) as usize);
            assert_eq!(loaded.ok().as_deref(), expect, "{offset}+{length}");
            assert_eq!(old.1.lock().unwrap().pop(), read, "{offset}+{length}");
        }
        window.clear();
        window.load(&old, &range(80, 20)).unwrap();
        assert_eq!(old.1.lock().unwrap().pop(), Some((80, 20)));
    }
}
