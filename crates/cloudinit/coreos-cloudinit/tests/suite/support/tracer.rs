//! Runs the program under ptrace, counts its file operations and kills it before a chosen one.
//!
//! A step is a system call that changes or fsyncs a file or folder. A power loss may discard everything not yet
//! fsynced; the trace records which files and folders these are.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Device and inode: identifies a file independent of its name.
pub type Inode = (u64, u64);

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    /// The name of each step.
    pub steps: Vec<&'static str>,
    /// `None` if the run was killed.
    pub code: Option<i32>,
    /// Files whose content may be lost.
    pub unflushed_files: BTreeSet<Inode>,
    /// Folders whose entries may be lost or reappear, with the last step that changed each.
    pub unflushed_folders: BTreeMap<Inode, usize>,
    /// Steps that renamed a file before its content was fsynced.
    pub renamed_unflushed: Vec<usize>,
}

/// The effect of a system call, with the file descriptors that it affects.
enum Effect {
    Content(i32),
    /// Mode or owner.
    Attributes(i32),
    Names(i32),
    /// The folders, and the address of the old name.
    Rename {
        from: i32,
        name: u64,
        to: i32,
    },
    Flush(i32),
}

/// Runs the command to its end, or kills it before step `cut_at`, counted from zero.
#[allow(unsafe_code, reason = "ptrace between fork and exec, and a union that the kernel fills in")]
pub fn run(mut command: Command, cut_at: Option<usize>) -> Trace {
    // SAFETY: ptrace's request to be traced is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from));
    }
    let mut child = command.spawn().unwrap();
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut trace = Trace::default();
    // Stopped at its exec.
    assert!(matches!(waitpid(main, None).unwrap(), WaitStatus::Stopped(_, Signal::SIGTRAP)));
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).unwrap();
    ptrace::syscall(main, None).unwrap();
    let code = loop {
        // All threads of the program, but no children of other test threads.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == main => break Some(code),
            WaitStatus::Signaled(pid, ..) if pid == main => break None,
            WaitStatus::PtraceSyscall(pid) => {
                if step(pid, &mut trace, cut_at) {
                    child.kill().unwrap();
                    continue;
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, ..) => (pid, None),
            // A new thread starts with a stop that is not a signal.
            WaitStatus::Stopped(pid, Signal::SIGSTOP | Signal::SIGTRAP) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        // The thread may have been killed.
        ptrace::syscall(pid, signal).unwrap_or(());
    };
    // Already reaped above.
    assert!(child.wait().is_err());
    Trace { code, ..trace }
}

/// Handles a syscall stop. Returns whether the run is to be killed before this step.
#[allow(unsafe_code, reason = "ptrace between fork and exec, and a union that the kernel fills in")]
fn step(pid: Pid, trace: &mut Trace, cut_at: Option<usize>) -> bool {
    let info = ptrace::syscall_info(pid).unwrap();
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return false;
    }
    // SAFETY: `op` tells that the kernel filled in this member of the union.
    let entry = unsafe { info.u.entry };
    let Some((name, effect)) = effect(i64::try_from(entry.nr).unwrap(), &entry.args) else { return false };
    let inode = |fd: i32| {
        let found = std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok()?;
        // Pipes, sockets and terminals are not on disk.
        (found.is_file() || found.is_dir()).then(|| (found.dev(), found.ino()))
    };
    let number = trace.steps.len();
    let mut apply = Vec::new();
    match effect {
        Effect::Content(fd) | Effect::Attributes(fd) => {
            let Some(file) = inode(fd) else { return false };
            trace.unflushed_files.insert(file);
        }
        Effect::Names(fd) => apply.push(inode(fd).unwrap_or_else(|| panic!("{name} by a path alone"))),
        Effect::Rename { from, name: at, to } => {
            apply.extend([from, to].map(|fd| inode(fd).unwrap_or_else(|| panic!("{name} by a path alone"))));
            let file = std::fs::symlink_metadata(format!("/proc/{pid}/fd/{from}/{}", text(pid, at))).unwrap();
            if trace.unflushed_files.contains(&(file.dev(), file.ino())) {
                trace.renamed_unflushed.push(number);
            }
        }
        Effect::Flush(fd) => {
            let Some(flushed) = inode(fd) else { return false };
            if cut_at != Some(number) {
                trace.unflushed_files.remove(&flushed);
                trace.unflushed_folders.remove(&flushed);
            }
        }
    }
    if cut_at == Some(number) {
        return true;
    }
    trace.unflushed_folders.extend(apply.into_iter().map(|folder| (folder, number)));
    trace.steps.push(name);
    false
}

fn effect(number: i64, arguments: &[u64; 6]) -> Option<(&'static str, Effect)> {
    let fd = |index: usize| arguments[index] as i32;
    let changes = |flags: u64| flags as i32 & (libc::O_CREAT | libc::O_TRUNC) != 0;
    Some(match number {
        libc::SYS_openat if changes(arguments[2]) => ("create", Effect::Names(fd(0))),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_ftruncate => {
            ("write", Effect::Content(fd(0)))
        }
        libc::SYS_fchmod | libc::SYS_fchown => ("attributes", Effect::Attributes(fd(0))),
        libc::SYS_fsync | libc::SYS_fdatasync => ("flush", Effect::Flush(fd(0))),
        libc::SYS_renameat | libc::SYS_renameat2 => {
            ("rename", Effect::Rename { from: fd(0), name: arguments[1], to: fd(2) })
        }
        libc::SYS_mkdirat => ("mkdir", Effect::Names(fd(0))),
        libc::SYS_unlinkat => ("unlink", Effect::Names(fd(0))),
        libc::SYS_fchmodat | libc::SYS_fchownat => ("attributes", Effect::Names(fd(0))),
        libc::SYS_symlinkat => ("symlink", Effect::Names(fd(1))),
        // Not used by the program, and not modelled here.
        libc::SYS_linkat
        | libc::SYS_copy_file_range
        | libc::SYS_sendfile
        | libc::SYS_sync
        | libc::SYS_syncfs => {
            panic!("system call {number} changes files in a way that is not known here")
        }
        number if by_path(number) => panic!("system call {number} changes a file by its path alone"),
        _ => return None,
    })
}

#[cfg(target_arch = "x86_64")]
fn by_path(number: i64) -> bool {
    let calls = [libc::SYS_rename, libc::SYS_mkdir, libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_symlink];
    calls.contains(&number)
        || [libc::SYS_chmod, libc::SYS_chown, libc::SYS_truncate, libc::SYS_creat].contains(&number)
}

#[cfg(not(target_arch = "x86_64"))]
fn by_path(_: i64) -> bool {
    false
}

/// The C string at this address of the process.
fn text(pid: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    for at in (address..).step_by(8) {
        let word = ptrace::read(pid, at as ptrace::AddressType).unwrap();
        let word = word.to_ne_bytes();
        bytes.extend(word.iter().take_while(|byte| **byte != 0));
        if word.contains(&0) {
            break;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Truncates the files that were not fsynced, as a power loss may.
pub fn discard_unflushed(below: &Path, files: &BTreeSet<Inode>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let found = std::fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            discard_unflushed(&path, files);
        } else if found.is_file() && files.contains(&(found.dev(), found.ino())) {
            std::fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        }
    }
}
