//! A file as a response body.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

/// Bytes per chunk of a file.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Chunks buffered for a slow receiver.
pub const CHUNKS_AHEAD: usize = 4;

/// Sends bytes `from..to` of a file to `chunks`. Stops when the receiver is closed or accepts no chunk for
/// `chunk_timeout`. Returns the number of bytes sent. Blocks; needs a Tokio runtime.
pub fn send(
    path: &Path,
    from: u64,
    to: u64,
    chunks: &mpsc::Sender<io::Result<Bytes>>,
    chunk_timeout: Duration,
) -> u64 {
    let mut sent = 0;
    let runtime = Handle::current();
    let mut read = || -> io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut remaining = to - from;
        while remaining > 0 {
            let mut chunk = vec![0; usize::try_from(remaining).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
            file.read_exact(&mut chunk)?;
            remaining -= chunk.len() as u64;
            sent += chunk.len() as u64;
            let accepted = chunks.send_timeout(Ok(chunk.into()), chunk_timeout);
            match runtime.block_on(accepted) {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => break,
                // Frees the slot. The connection is closed before all announced bytes are sent.
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::debug!(path = %path.display(), "a client read nothing for {chunk_timeout:?}");
                    break;
                }
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        tracing::warn!(%error, path = %path.display(), "cannot read a file");
        // Aborts the connection, so that clients do not take the part for the whole.
        if runtime.block_on(chunks.send_timeout(Err(error), chunk_timeout)).is_err() {
            tracing::debug!("the client has disconnected");
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 256 stalled clients would block all downloads.
    #[tokio::test]
    async fn a_stalled_client_releases_its_slot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usr.full");
        std::fs::write(&path, vec![7; CHUNK_BYTES * 3]).unwrap();
        let (sender, mut chunks) = mpsc::channel(1);
        let end = CHUNK_BYTES as u64 * 3;
        let sending =
            tokio::task::spawn_blocking(move || send(&path, 0, end, &sender, Duration::from_millis(20)));
        // The receiver takes one chunk, the channel buffers the next one, and the third one blocks.
        assert_eq!(chunks.recv().await.unwrap().unwrap().len(), CHUNK_BYTES);
        sending.await.unwrap();
        let mut remaining = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            remaining.push(chunk.unwrap().len());
        }
        assert_eq!(remaining, [CHUNK_BYTES]);
    }
}
