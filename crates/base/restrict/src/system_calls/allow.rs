//! Allows a list of system calls only. The others fail with EPERM; those that only an attacker makes can kill the
//! process.
//!
//! Arguments in memory cannot be checked: what is allowed must be harmless whatever they point to.

use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{ESCAPES, Rules, any, apply};

/// What a thread may do: each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Calls {
    /// Use memory and open files: no other file, socket, thread or process.
    Parse,
    /// Send and receive on open sockets.
    Compute,
    /// Open files to read, connect IPv4 and IPv6 sockets, and start threads.
    Connect,
    /// List folders, open paths with `openat2`, and restrict the thread further. The flags of `openat2` are in memory:
    /// only [`files`](crate::files) denies to write by it.
    Read,
    /// Use [`VMWARE_PORTS`].
    Ports,
    /// Open existing files to write, and set up terminals. Only [`files`](crate::files) denies other files than devices.
    Devices,
}

/// What a call does that nothing of ours makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEscape {
    /// Ends the process: for one that only handles bytes of others.
    KillProcess,
    /// The call fails with EPERM, as all others: for a thread, whose process has more to do.
    Fail,
}

/// Memory and open files.
const PARSE: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
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

const COMPUTE: &[i64] = &[libc::SYS_recvfrom, libc::SYS_sendto];

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

const READ: &[i64] = &[
    libc::SYS_openat2,
    libc::SYS_getdents64,
    // The next, narrower restriction.
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
];

/// ioctls of [`Calls::Connect`], and those of terminals.
const SOCKET_CONTROLS: [i32; 2] = [libc::FIONREAD as i32, libc::FIONBIO as i32];
const TERMINAL_CONTROLS: [i32; 5] = [
    libc::TCGETS as i32,
    libc::TCGETS2 as i32,
    libc::TCSETS as i32,
    libc::TCSETS2 as i32,
    libc::TCFLSH as i32,
];

/// ioctls of `/dev/vboxguest`: connect to a service of the host, and call it with four parameters.
pub const VIRTUALBOX_CONNECT: u32 = read_write(4, 156);
/// See [`VIRTUALBOX_CONNECT`].
pub const VIRTUALBOX_CALL: u32 = read_write(7, 104);

/// I/O ports of VMware's hypervisor: the first one, and their number. An instruction that reads 32 bits needs as many as
/// bytes.
pub const VMWARE_PORTS: (u16, u16) = (0x5658, 4);

/// `_IOWR('V', number, bytes)`.
const fn read_write(number: u32, bytes: u32) -> u32 {
    3 << 30 | bytes << 16 | (b'V' as u32) << 8 | number
}

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
pub fn allow_only(calls: Calls, on_escape: OnEscape) -> Result<(), seccompiler::Error> {
    if on_escape == OnEscape::KillProcess {
        apply(any(&[ESCAPES, FATAL].concat()), SeccompAction::Allow, SeccompAction::KillProcess)?;
    }
    if calls >= Calls::Connect {
        apply(any(&[libc::SYS_clone3]), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    }
    apply(allowed(calls)?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

fn allowed(calls: Calls) -> Result<Rules, seccompiler::Error> {
    let mut rules = any(PARSE);
    rules.insert(libc::SYS_mmap, no_writable_code()?);
    rules.insert(libc::SYS_mprotect, vec![rule(&[masked(2, libc::PROT_EXEC, 0)?])?]);
    if calls >= Calls::Compute {
        rules.extend(any(COMPUTE));
    }
    if calls >= Calls::Connect {
        rules.extend(any(CONNECT));
        let internet = [libc::AF_INET, libc::AF_INET6];
        rules.insert(libc::SYS_socket, one_of(0, &internet)?);
        rules.insert(libc::SYS_openat, vec![rule(&[masked(2, WRITE_FLAGS, 0)?])?]);
        let flags = NAMESPACES | libc::CLONE_THREAD;
        rules.insert(libc::SYS_clone, vec![rule(&[masked(0, flags, libc::CLONE_THREAD)?])?]);
        let controls = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_DUPFD_CLOEXEC];
        rules.insert(libc::SYS_fcntl, one_of(1, &controls)?);
        rules.insert(libc::SYS_ioctl, one_of(1, &SOCKET_CONTROLS)?);
    }
    if calls >= Calls::Read {
        rules.extend(any(READ));
        rules.insert(libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS])?);
        // No flags: one of them restricts the other threads, too.
        let filter = libc::SECCOMP_SET_MODE_FILTER.cast_signed();
        rules.insert(libc::SYS_seccomp, vec![rule(&[equal(0, filter)?, equal(1, 0)?])?]);
        rules.insert(libc::SYS_landlock_restrict_self, one_of(1, &[0])?);
    }
    if calls >= Calls::Ports {
        let (first, count) = VMWARE_PORTS;
        let ports = [equal(0, first.into())?, equal(1, count.into())?, equal(2, 1)?];
        rules.insert(libc::SYS_ioperm, vec![rule(&ports)?]);
    }
    if calls >= Calls::Devices {
        let create = WRITE_FLAGS & !libc::O_ACCMODE;
        let virtual_box = [VIRTUALBOX_CONNECT, VIRTUALBOX_CALL].map(u32::cast_signed);
        let controls = [&SOCKET_CONTROLS[..], &TERMINAL_CONTROLS, &virtual_box].concat();
        rules.insert(libc::SYS_openat, vec![rule(&[masked(2, create, 0)?])?]);
        rules.insert(libc::SYS_ioctl, one_of(1, &controls)?);
    }
    Ok(rules)
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

fn equal(argument: u8, value: i32) -> Result<SeccompCondition, seccompiler::Error> {
    let value = u64::from(value.cast_unsigned());
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?)
}

fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    values.iter().map(|value| rule(&[equal(argument, *value)?])).collect()
}
