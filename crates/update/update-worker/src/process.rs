//! Starts children, and explains their end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::thread::{self, ThreadId, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::limits::START_TIMEOUT;
use crate::link::{Link, LinkError, Wait};
use crate::message::{Role, WORKER_NAME};

/// The program of this process, also after its file was replaced.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The environment of a child: proxies, certificates and the resolver.
const VARIABLES: [&str; 11] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "RES_OPTIONS",
    "LOCALDOMAIN",
];
/// Time for a child that closed its socket to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where unverified bytes are received and unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// In this process, with all its rights: for tests, whose program cannot start itself as a child.
    InProcess,
    /// In children: this program, which calls [`crate::run`] if its name is [`WORKER_NAME`].
    Process(PathBuf),
}

impl Isolation {
    /// In children of the running program.
    #[must_use]
    pub fn own_program() -> Self {
        Self::Process(OWN_PROGRAM.into())
    }
}

/// A failure of a child, or what it did against the protocol. The next child may succeed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum WorkerError {
    #[error("cannot start {process}")]
    Start { process: &'static str, source: io::Error },
    #[error("{process} ended: {how}")]
    Ended { process: &'static str, how: String },
    #[error("{process} sent {what}")]
    Protocol { process: &'static str, what: &'static str },
    #[error("{process} sent nothing for {seconds} s")]
    Deadline { process: &'static str, seconds: u64 },
    #[error("cannot communicate with {process}")]
    Socket { process: &'static str, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

/// A running child. Killed when dropped.
#[derive(Debug)]
pub struct Worker {
    role: Role,
    child: Child,
    /// The child ends with this thread, not with the process.
    thread: ThreadId,
    pub link: Link,
}

impl Worker {
    /// Starts a child and waits until it is restricted.
    pub fn start(program: &PathBuf, role: Role) -> Result<Self, WorkerError> {
        let process = role.process();
        let failed = |source| WorkerError::Start { process, source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let link = Link::new(ours).map_err(failed)?;
        let child = Command::new(program)
            .arg0(WORKER_NAME)
            .args([role.name(), &std::process::id().to_string()])
            .env_clear()
            .envs(VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            // Not the parent's: a child that was taken over writes no log.
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut worker = Self { role, child, thread: thread::current().id(), link };
        match worker.link.hello(Wait::new(START_TIMEOUT, &|| false)) {
            Ok(unrestricted) => warn_once(process, &unrestricted),
            Err(error) => return Err(worker.explain(error)),
        }
        Ok(worker)
    }

    /// Whether the child may be used by this thread: the one that started it may end at any time.
    pub fn is_of_this_thread(&self) -> bool {
        self.thread == thread::current().id()
    }

    /// Ends the child, and explains why it is of no use any more.
    pub fn explain(mut self, error: LinkError) -> WorkerError {
        let process = self.role.process();
        match error {
            LinkError::Ended => {
                let how = match self.wait() {
                    Some(status) => end(status),
                    None => "it closed its socket".to_owned(),
                };
                WorkerError::Ended { process, how }
            }
            LinkError::Malformed(malformed) => WorkerError::Protocol { process, what: malformed.0 },
            LinkError::Deadline(seconds) => WorkerError::Deadline { process, seconds },
            LinkError::Cancelled => WorkerError::Cancelled,
            LinkError::Socket(source) => WorkerError::Socket { process, source },
        }
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if started.elapsed() < EXIT_TIMEOUT => sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Fails only if it has exited.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `signal SIGSYS`, or `exit status 1`.
fn end(status: ExitStatus) -> String {
    match status.signal() {
        Some(number) => Signal::try_from(number)
            .map_or_else(|_| format!("signal {number}"), |signal| format!("signal {signal}")),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    }
}

fn warn_once(process: &str, unrestricted: &str) {
    static WARNED: Once = Once::new();
    if !unrestricted.is_empty() {
        WARNED.call_once(|| tracing::warn!("{process} can {unrestricted}"));
    }
}
