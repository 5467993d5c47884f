//! Blocking copies and other blocking work on threads: a slow terminal must not block the runtime, and a busy runtime
//! must not block the connection.

use std::io::{self, Read, Write};

use tokio::sync::oneshot;

use crate::limits::COPY_BYTES;

/// Copies until `from` ends. Each read is written immediately.
pub fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length]).and_then(|()| to.flush())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Runs `work` on a thread. The thread continues if the future is dropped.
pub async fn on_thread<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || drop(done.send(work())));
    result.await.map_err(io::Error::other)?
}
