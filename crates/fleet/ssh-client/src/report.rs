//! What `ssh` writes to its standard error: the end of it, since the other side can make it write without end.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits::REPORT_BYTES;

/// How long a line may take from `ssh` to here.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);

pub struct Report {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Report {
    /// With the end that `ssh` writes to.
    pub fn start() -> io::Result<(Report, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeping = Arc::clone(&kept);
        let reader = std::thread::spawn(move || drop(keep(reader, &keeping)));
        Ok((Report { kept, reader }, writer))
    }

    /// After `ssh` has exited.
    pub async fn complete(&self) -> String {
        soon(|| self.reader.is_finished().then_some(())).await;
        self.text()
    }

    /// What follows `mark` in the line that was written last, which was written just now; it is given only once.
    pub async fn take_after(&self, mark: &str) -> Option<String> {
        let after = || {
            let text = self.text();
            let (_, rest) = text.lines().rev().find_map(|line| line.split_once(mark))?;
            Some(rest.trim().to_owned())
        };
        let found = soon(after).await;
        if found.is_some() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        found
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

async fn soon<T>(found: impl Fn() -> Option<T>) -> Option<T> {
    let end = Instant::now() + ON_ITS_WAY;
    loop {
        let found = found();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn keep(mut reader: PipeReader, kept: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..length]);
        let over = kept.len().saturating_sub(REPORT_BYTES);
        kept.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn its_end_and_its_lines() {
        let (report, mut ssh) = Report::start().unwrap();
        ssh.write_all(b"channel 2: open failed: one\r\nchannel 3: open failed: two\r\n").unwrap();
        let mut reason = None;
        // The second may be read after the first.
        while reason.as_deref() != Some("two") {
            reason = report.take_after("open failed: ").await;
            assert!(reason.is_some());
        }
        assert_eq!(report.take_after("open failed: ").await, None);
        ssh.write_all(&vec![b'x'; 2 * REPORT_BYTES]).unwrap();
        ssh.write_all(b"last").unwrap();
        drop(ssh);
        let text = report.complete().await;
        assert!(text.len() == REPORT_BYTES && text.ends_with("xlast"), "{}", text.len());
    }
}
