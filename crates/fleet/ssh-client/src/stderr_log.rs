//! The last part of the standard error of `ssh`; the server could cause unlimited output.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits::REPORT_BYTES;

/// Limit of the wait for a line that `ssh` has written.
const MAX_DELAY: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(5);

pub struct StderrLog {
    buffer: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl StderrLog {
    /// Returns the log and the pipe for `ssh` to write to.
    pub fn start() -> io::Result<(StderrLog, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&buffer);
        let reader = std::thread::spawn(move || drop(collect(reader, &shared)));
        Ok((StderrLog { buffer, reader }, writer))
    }

    /// The whole log, after `ssh` has exited.
    pub async fn complete(&self) -> String {
        poll_until_some(|| self.reader.is_finished().then_some(())).await;
        self.text()
    }

    /// Takes the text after `mark` in the last line that has it. Waits, as the line may still be in the pipe.
    pub async fn take_after(&self, mark: &str) -> Option<String> {
        let after = || {
            let text = self.text();
            let (_, rest) = text.lines().rev().find_map(|line| line.split_once(mark))?;
            Some(rest.trim().to_owned())
        };
        let found = poll_until_some(after).await;
        if found.is_some() {
            self.buffer.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        found
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

async fn poll_until_some<T>(found: impl Fn() -> Option<T>) -> Option<T> {
    let end = Instant::now() + MAX_DELAY;
    loop {
        let found = found();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn collect(mut reader: PipeReader, buffer: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let length = reader.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.extend_from_slice(&chunk[..length]);
        let over = buffer.len().saturating_sub(REPORT_BYTES);
        buffer.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn keeps_the_last_bytes() {
        let (log, mut ssh) = StderrLog::start().unwrap();
        ssh.write_all(b"channel 2: open failed: one\r\nchannel 3: open failed: two\r\n").unwrap();
        let mut reason = None;
        // The second may be read after the first.
        while reason.as_deref() != Some("two") {
            reason = log.take_after("open failed: ").await;
            assert!(reason.is_some());
        }
        assert_eq!(log.take_after("open failed: ").await, None);
        ssh.write_all(&vec![b'x'; 2 * REPORT_BYTES]).unwrap();
        ssh.write_all(b"last").unwrap();
        drop(ssh);
        let text = log.complete().await;
        assert!(text.len() == REPORT_BYTES && text.ends_with("xlast"), "{}", text.len());
    }
}
