//! Copies bytes, and does other blocking work, on threads: a slow terminal must not hold up the runtime, nor a busy runtime
//! the connection.

use std::io::{self, Read, Write};

use tokio::sync::oneshot;

use crate::limits::COPY_BYTES;

/// Until `from` ends. Each read is passed on immediately.
pub fn pump(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
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

/// The result of `work`, which a thread does. The thread continues where its result is no longer awaited.
pub async fn on_thread<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || drop(done.send(work())));
    result.await.map_err(io::Error::other)?
}
