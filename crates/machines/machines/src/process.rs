//! Processes that outlive the command that started them, identified by pid and start time.
//!
//! A pid may be reused: no signal is sent to a process whose start time differs, and signals go to a descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::pidfd::PidFd;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// Clock ticks after boot, field 22 of `/proc/PID/stat`.
    pub started: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("cannot start {program}")]
    Spawn { program: String, source: io::Error },
    #[error("cannot write the log {path}")]
    Log { path: PathBuf, source: io::Error },
    #[error("{program} exited immediately: {message} (log: {log})")]
    Ended { program: String, log: PathBuf, message: String },
    #[error("cannot signal process {pid}")]
    Signal { pid: i32, source: io::Error },
    #[error("process {pid} still exists {} s after SIGKILL", limits::KILL.as_secs())]
    Stuck { pid: i32 },
    #[error("cannot freeze process {pid}: it has exited, or did not stop within {} s", limits::FREEZE.as_secs())]
    NotFrozen { pid: i32 },
}

/// A stopped process. It continues on drop.
#[derive(Debug)]
pub struct Frozen(Process);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal(Signal::SIGCONT) {
            eprintln!("{error}");
        }
    }
}

impl Process {
    /// Starts `command` in its own session without a terminal; appends its output to `log`.
    #[allow(unsafe_code, reason = "a system call between fork and exec")]
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| ProcessError::Log { path: log.to_path_buf(), source };
        let output = File::options().create(true).append(true).open(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
        }
        let mut child =
            command.spawn().map_err(|source| ProcessError::Spawn { program: program.clone(), source })?;
        // invariant: pids fit: the kernel's limit is 2^22.
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        let process = Self::of(pid);
        // Reaps the process if it exits before this one.
        std::thread::spawn(move || child.wait());
        process.ok_or_else(|| ProcessError::Ended {
            program,
            log: log.to_path_buf(),
            message: last_line(log),
        })
    }

    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Processor time of all its threads.
    #[must_use]
    pub fn processor_time(self) -> Option<Duration> {
        let fields = fields(self.pid)?;
        let ticks =
            fields.get(USER_TIME)?.parse::<u64>().ok()? + fields.get(SYSTEM_TIME)?.parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * MILLIS_PER_TICK))
    }

    /// Time in which its present threads were ready to run but had no processor.
    #[must_use]
    pub fn processor_delay(self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        // The second number, in nanoseconds: Documentation/scheduler/sched-stats.rst.
        let delay = |folder: PathBuf| {
            let text = std::fs::read_to_string(folder.join("schedstat")).ok()?;
            text.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        threads.filter_map(|thread| delay(thread.path())).map(Duration::from_nanos).sum()
    }

    /// `None` if it has exited.
    pub(crate) fn descriptor(self) -> io::Result<Option<PidFd>> {
        let opened = PidFd::open(self.pid);
        // Checked after opening: if it has its pid now, it had it then, and the descriptor is its own.
        if self.alive() { opened.map(Some) } else { Ok(None) }
    }

    pub fn signal(self, signal: Signal) -> Result<(), ProcessError> {
        let failed = |source| ProcessError::Signal { pid: self.pid, source };
        let Some(descriptor) = self.descriptor().map_err(failed)? else { return Ok(()) };
        match descriptor.send(signal as libc::c_int) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(failed(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Stops all of its threads until the returned value is dropped.
    pub fn freeze(self) -> Result<Frozen, ProcessError> {
        self.signal(Signal::SIGSTOP)?;
        let frozen = Frozen(self);
        let deadline = std::time::Instant::now() + limits::FREEZE;
        // SIGSTOP takes effect when a thread next leaves the kernel.
        while !self.is_stopped() {
            if !self.alive() || std::time::Instant::now() > deadline {
                return Err(ProcessError::NotFrozen { pid: self.pid });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(frozen)
    }

    fn is_stopped(self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid)) else { return false };
        let is_stopped = |thread: std::fs::DirEntry| {
            let thread = thread.file_name().to_string_lossy().parse().ok();
            let state = thread.and_then(fields).and_then(|fields| fields.get(STATE).cloned());
            state.is_some_and(|state| state == "T")
        };
        // A process that was reaped meanwhile has no threads.
        let mut threads = threads.flatten().map(is_stopped).peekable();
        threads.peek().is_some() && threads.all(|is_stopped| is_stopped)
    }

    /// Kills the process and waits until it has exited.
    pub fn kill(self) -> Result<(), ProcessError> {
        self.signal(Signal::SIGKILL)?;
        if self.wait(limits::KILL) { Ok(()) } else { Err(ProcessError::Stuck { pid: self.pid }) }
    }

    /// Waits until it has exited; returns false after `limit`.
    #[must_use]
    pub fn wait(self, limit: Duration) -> bool {
        let Ok(Some(descriptor)) = self.descriptor() else { return !self.alive() };
        let deadline = std::time::Instant::now() + limit;
        while self.alive() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return false;
            }
            let mut wait = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left.min(limits::TICK)).unwrap_or(PollTimeout::ZERO);
            if poll(&mut wait, timeout).is_err() {
                continue;
            }
        }
        true
    }
}

/// Indexes into the fields after the name: the state is field 3 of `/proc/PID/stat`.
const STATE: usize = 0;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const START_TIME: usize = 19;
/// USER_HZ is 100 on all Linux architectures.
const MILLIS_PER_TICK: u64 = 10;

/// Lets the program that this process executes next inherit a descriptor: a system call only, so that it may run
/// between fork and exec.
#[allow(unsafe_code, reason = "the descriptor belongs to the process before the fork")]
pub fn inherit(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: fcntl takes integers.
    match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn fields(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name (field 2) is in parentheses and may contain any character.
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn start_time(pid: i32) -> Option<u64> {
    let fields = fields(pid)?;
    let state = fields.get(STATE)?;
    if matches!(state.as_str(), "Z" | "X") { None } else { fields.get(START_TIME)?.parse().ok() }
}

#[must_use]
pub fn last_line(log: &Path) -> String {
    crate::console::tail(log, 1).pop().unwrap_or_else(|| "(nothing)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_process_continues() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do echo >>\"$0\"; done"]).arg(&count);
        let process = Process::spawn(command, &folder.path().join("log")).unwrap();
        let length = || std::fs::metadata(&count).map_or(0, |file| file.len());
        let grows_from = |before: u64| {
            let deadline = std::time::Instant::now() + limits::KILL;
            while length() == before && std::time::Instant::now() < deadline {}
            length() > before
        };
        assert!(grows_from(0));
        let frozen = process.freeze().unwrap();
        let before = length();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(length(), before);
        drop(frozen);
        assert!(grows_from(before));
        process.kill().unwrap();
        assert!(matches!(process.freeze(), Err(ProcessError::NotFrozen { .. })));
    }

    /// Two processes share a processor: each waits for the other.
    #[test]
    fn waiting_for_a_processor_is_delay() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let first = r"$(sed -n 's/^Cpus_allowed_list:\s*\([0-9]*\).*/\1/p' /proc/self/status)";
        let busy = "while :; do :; done";
        command.args(["-c", &format!("taskset --pid --cpu-list {first} $$; {busy} & {busy}")]);
        let process = Process::spawn(command, &folder.path().join("log")).unwrap();
        let deadline = std::time::Instant::now() + limits::KILL;
        let passed = || {
            process.processor_delay() > Duration::from_millis(100)
                && process.processor_time().is_some_and(|used| used > Duration::from_millis(100))
        };
        while !passed() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let passed = passed();
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
        assert!(passed);
    }

    #[test]
    fn a_process_with_another_start_time_is_not_signalled() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sleep");
        command.arg("1000");
        let process = Process::spawn(command, &log).unwrap();
        assert!(process.alive());
        assert!(!process.wait(Duration::from_millis(1)));
        process.kill().unwrap();
        assert!(!process.alive());
        // Our own pid with a wrong start time is another process.
        let other = Process { pid: std::process::id().cast_signed(), started: 1 };
        assert!(!other.alive());
        assert!(other.descriptor().unwrap().is_none());
        other.signal(Signal::SIGKILL).unwrap();
    }
}
