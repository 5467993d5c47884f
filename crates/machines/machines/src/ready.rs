//! Readiness reports of a node: JSON lines in a file that the node writes.
//!
//! In QEMU the virtio-serial port `org.keelson.ready` is that file; an nspawn node writes it in a bound folder. A
//! wait ends on a report, on exit of the node's process, on timeout or on Ctrl-C; inotify wakes it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits;
use crate::process::Process;

/// Name of the virtio-serial port.
pub const PORT: &str = "org.keelson.ready";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub state: String,
    #[serde(default)]
    pub version: Option<String>,
    /// Build profile of the image's programs, if reported.
    #[serde(default)]
    pub profile: Option<String>,
    #[serde(default)]
    pub slot: Option<String>,
    #[serde(default)]
    pub failed_units: Vec<String>,
    #[serde(default)]
    pub address: Option<String>,
}

/// Identifies the state of a readiness file: a later one belongs to another boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    inode: u64,
    length: u64,
    modified: Option<std::time::SystemTime>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    #[error("not ready after {} s", .limit.as_secs())]
    TimedOut { limit: Duration },
    #[error("no boot progress for {} s", .limit.as_secs())]
    Silent { limit: Duration },
    #[error("the machine's process exited before it was ready")]
    Ended,
    #[error("interrupted")]
    Interrupted,
    #[error("cannot watch {path}")]
    Watch { path: PathBuf, source: std::io::Error },
}

#[must_use]
pub fn mark(path: &Path) -> Mark {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).map_or_else(
        |_| Mark::default(),
        |data| Mark { inode: data.ino(), length: data.len(), modified: data.modified().ok() },
    )
}

/// State that the host writes when a machine was reset: earlier reports are void.
const WITHDRAWN: &str = "restarting";
/// State that a machine reports while its boot jobs run.
const STARTING: &str = "starting";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BootReport {
    state: String,
    pub jobs: usize,
    /// Units of the running jobs, limited to the first few.
    #[serde(default)]
    pub running: Vec<String>,
    /// Status text of a unit that the boot waits for.
    #[serde(default)]
    pub status: Option<Status>,
}

/// `STATUS=` of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    pub unit: String,
    pub text: String,
}

impl BootReport {
    /// The unit that the boot waits for: the one with a status text, otherwise the first.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        let explained = self.status.as_ref().map(|status| &status.unit);
        explained.or(self.running.first()).map(String::as_str)
    }
}

/// Revokes an earlier readiness report.
pub fn withdraw(path: &Path) -> std::io::Result<()> {
    let line = format!("{{\"state\":\"{WITHDRAWN}\"}}\n");
    match open(path, File::options().append(true)) {
        // A single write: the node may write concurrently.
        Ok(mut file) => file.write_all(line.as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The last complete readiness report; `None` if it was withdrawn or the machine is still booting.
#[must_use]
pub fn last(path: &Path) -> Option<Ready> {
    parse(&tail(path)?)
}

/// The progress report of a machine that is still booting.
#[must_use]
pub fn boot_report(path: &Path) -> Option<BootReport> {
    let boot_report: BootReport = last_line(&tail(path)?)?;
    (boot_report.state == STARTING).then_some(boot_report)
}

/// Opens a readiness file, which the node may have replaced: not through a link, and without waiting for a FIFO.
fn open(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    Ok(file)
}

fn tail(path: &Path) -> Option<Vec<u8>> {
    let mut file = open(path, File::options().read(true)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limits::READY_LINE_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(limits::READY_LINE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn parse(bytes: &[u8]) -> Option<Ready> {
    let ready: Ready = last_line(bytes)?;
    (ready.state != WITHDRAWN && ready.state != STARTING).then_some(ready)
}

/// The last line that parses as `T`, without control characters: its texts are shown on terminals.
fn last_line<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    // A line without a newline may be incomplete.
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = bytes[..end].split(|byte| *byte == b'\n').rev();
    lines.find_map(|line| {
        let value = serde_json::from_slice(line).ok()?;
        if is_printable(&value) { serde_json::from_value(value).ok() } else { None }
    })
}

fn is_printable(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.chars().any(char::is_control),
        Value::Array(values) => values.iter().all(is_printable),
        Value::Object(members) => members.values().all(is_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// How long to wait for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Total time.
    Total(Duration),
    /// Time without progress.
    Silence(Duration),
}

/// Limit and cancellation flag of a wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitOptions<'a> {
    pub limit: Limit,
    pub cancel: &'a AtomicBool,
}

/// Waits for a report that is newer than `before`. `poll_progress` is called periodically and returns whether the
/// node has made progress.
pub fn wait(
    path: &Path,
    before: &Mark,
    process: Process,
    options: WaitOptions<'_>,
    poll_progress: &mut dyn FnMut() -> bool,
) -> Result<Ready, ReadyError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let failed = |source: nix::Error| ReadyError::Watch { path: folder.to_path_buf(), source: source.into() };
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
    let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(folder, events).map_err(failed)?;
    let started_at = Instant::now();
    let mut changed = started_at;
    loop {
        if mark(path) != *before
            && let Some(ready) = last(path)
        {
            return Ok(ready);
        }
        if !process.alive() {
            return Err(ReadyError::Ended);
        }
        if options.cancel.load(Ordering::Relaxed) {
            return Err(ReadyError::Interrupted);
        }
        if poll_progress() {
            changed = Instant::now();
        }
        let left = match options.limit {
            Limit::Total(limit) => limit.saturating_sub(started_at.elapsed()),
            Limit::Silence(limit) => limit.saturating_sub(changed.elapsed()),
        };
        if left.is_zero() {
            return Err(match options.limit {
                Limit::Total(limit) => ReadyError::TimedOut { limit },
                Limit::Silence(limit) => ReadyError::Silent { limit },
            });
        }
        let timeout = PollTimeout::try_from(left.min(limits::TICK)).unwrap_or(PollTimeout::ZERO);
        let mut wait = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => drop(watch.read_events().map_err(failed)?),
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_last_complete_report_counts() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse(text.as_bytes()).map(|r| r.state).as_deref(), expect, "{text:?}");
        };
        check("", None);
        check("{\"state\":\"ready\"}", None);
        check("{\"state\":\"ready\"}\n", Some("ready"));
        check("{\"state\":\"a\"}\n{\"state\":\"b\"}\n{\"sta", Some("b"));
        check("noise\n{\"state\":\"a\"}\nnoise\n", Some("a"));
        check("{\"state\":\"a\"}\n{\"state\":\"restarting\"}\n", None);
        check("{\"state\":\"restarting\"}\n{\"state\":\"b\"}\n", Some("b"));
        check("{\"state\":\"starting\",\"jobs\":3}\n", None);
        check("{\"state\":\"a\"}\n{\"state\":\"b\",\"failed_units\":[\"\\u001b[2J\"]}\n", Some("a"));
    }

    #[test]
    fn a_node_that_replaces_its_file_makes_the_host_neither_read_nor_write_others() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("ready.json"), folder.path().join("of the host"));
        let line = "{\"state\":\"ready\"}\n";
        std::fs::write(&other, line).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert_eq!(last(&path), None);
        assert!(withdraw(&path).is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), line);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Neither call waits for another process to open it.
        assert_eq!(last(&path), None);
        assert!(withdraw(&path).is_err());
    }

    /// The total time exceeds the limit, but progress is reported throughout.
    #[test]
    fn a_progressing_machine_does_not_time_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        let mut sleep = Command::new("sleep");
        sleep.arg("100");
        let process = Process::spawn(sleep, &folder.path().join("log")).unwrap();
        let (started_at, lasts) = (Instant::now(), 4 * limits::TICK);
        let options =
            WaitOptions { limit: Limit::Silence(2 * limits::TICK), cancel: &AtomicBool::new(false) };
        let result = wait(&path, &Mark::default(), process, options, &mut || started_at.elapsed() < lasts);
        assert!(matches!(result, Err(ReadyError::Silent { .. })));
        assert!(started_at.elapsed() >= lasts);
        process.kill().unwrap();
    }

    #[test]
    fn a_wait_ends_on_ready_exit_timeout_and_interrupt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        std::fs::write(&path, "{\"state\":\"old\"}\n").unwrap();
        let before = mark(&path);
        let mut sleep = Command::new("sleep");
        sleep.arg("100");
        let process = Process::spawn(sleep, &folder.path().join("log")).unwrap();
        let (go, stop) = (AtomicBool::new(false), AtomicBool::new(true));
        let short = WaitOptions { limit: Limit::Total(Duration::from_millis(50)), cancel: &go };
        assert!(matches!(
            wait(&path, &before, process, short, &mut || true),
            Err(ReadyError::TimedOut { .. })
        ));
        let silent = WaitOptions { limit: Limit::Silence(Duration::from_millis(50)), cancel: &go };
        assert!(matches!(
            wait(&path, &before, process, silent, &mut || false),
            Err(ReadyError::Silent { .. })
        ));
        let long = WaitOptions { limit: Limit::Total(Duration::from_secs(20)), cancel: &go };
        let stopped = WaitOptions { cancel: &stop, ..long };
        assert!(matches!(
            wait(&path, &before, process, stopped, &mut || false),
            Err(ReadyError::Interrupted)
        ));
        let ready = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&path, &before, process, long, &mut || false));
            let line = "{\"state\":\"new\",\"profile\":\"quick\",\"slot\":\"b\"}\n";
            std::fs::write(folder.path().join("new"), line).unwrap();
            std::fs::rename(folder.path().join("new"), &path).unwrap();
            waiter.join().unwrap().unwrap()
        });
        assert_eq!((ready.state.as_str(), ready.slot.as_deref()), ("new", Some("b")));
        assert_eq!(ready.profile.as_deref(), Some("quick"));
        process.kill().unwrap();
        assert!(matches!(wait(&path, &mark(&path), process, long, &mut || false), Err(ReadyError::Ended)));
    }
}
