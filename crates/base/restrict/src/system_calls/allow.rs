//! Allows a list of system calls only. The others fail with EPERM; those that only an attacker makes kill the process.
//!
//! Arguments in memory cannot be checked: what is allowed must be harmless whatever they point to.

use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{ESCAPES, any, apply};

/// What a thread may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Use memory and open files: no other file, socket, thread or process.
    Compute,
    /// As before, and open files to read, connect IPv4 and IPv6 sockets, and start threads.
    Connect,
}

const COMPUTE: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sysinfo,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// For TLS, DNS, name service modules, and threads.
const CONNECT: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_pread64,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    // Fails with ENOSYS, as on old kernels: its flags are in memory. libc then uses `clone`.
    libc::SYS_clone3,
];

/// Nothing of ours makes these calls, nor [`ESCAPES`]: an attempt is one to escape.
const FATAL: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_open_by_handle_at,
    libc::SYS_iopl,
    libc::SYS_ioperm,
];

/// All of `clone`'s flags for namespaces.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
/// Flags of `openat` beyond reading.
const WRITE_FLAGS: i32 =
    libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// Sets no_new_privs.
///
/// # Errors
/// The kernel refuses a filter.
pub fn allow_only(calls: Calls) -> Result<(), seccompiler::Error> {
    apply(any(&[ESCAPES, FATAL].concat()), SeccompAction::Allow, SeccompAction::KillProcess)?;
    apply(any(&[libc::SYS_clone3]), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    let mut rules = any(COMPUTE);
    rules.insert(libc::SYS_mmap, no_writable_code()?);
    rules.insert(libc::SYS_mprotect, vec![rule(&[masked(2, libc::PROT_EXEC, 0)?])?]);
    if calls == Calls::Connect {
        rules.extend(any(CONNECT));
        let internet = [libc::AF_INET, libc::AF_INET6];
        rules.insert(libc::SYS_socket, one_of(0, &internet)?);
        rules.insert(libc::SYS_openat, vec![rule(&[masked(2, WRITE_FLAGS, 0)?])?]);
        let flags = NAMESPACES | libc::CLONE_THREAD;
        rules.insert(libc::SYS_clone, vec![rule(&[masked(0, flags, libc::CLONE_THREAD)?])?]);
        let controls = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];
        rules.insert(libc::SYS_fcntl, one_of(1, &controls)?);
        rules.insert(libc::SYS_ioctl, one_of(1, &[libc::FIONREAD as i32, libc::FIONBIO as i32])?);
    }
    apply(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// `mmap` of code only from files, as libraries are mapped, and never writable.
fn no_writable_code() -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let from_file =
        [masked(2, libc::PROT_EXEC | libc::PROT_WRITE, libc::PROT_EXEC)?, masked(3, libc::MAP_ANONYMOUS, 0)?];
    Ok(vec![rule(&[masked(2, libc::PROT_EXEC, 0)?])?, rule(&from_file)?])
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, seccompiler::Error> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

/// The bits of `mask` in an argument are `value`.
fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompCondition, seccompiler::Error> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
    let value = u64::from(value.cast_unsigned());
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?)
}

fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let equal = |value: &i32| {
        let value = u64::from(value.cast_unsigned());
        rule(&[SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?])
    };
    values.iter().map(equal).collect()
}
