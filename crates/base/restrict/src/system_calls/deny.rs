//! Denies system calls that go beyond reading, with EPERM.
//!
//! Landlock does not cover file modes, owners and times, mounts, or other processes.

use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{ESCAPES, any, apply};

/// Metadata of existing files.
const METADATA: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_utimensat,
];

/// Never needed for reading or writing files, as [`ESCAPES`].
const DENIED: &[i64] = &[
    libc::SYS_open_by_handle_at,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The machine.
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_syslog,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    // Programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

/// As [`METADATA`], of Linux 6.13 to 6.17: libc does not name them (`include/uapi/asm-generic/unistd.h`).
const METADATA_NEW: &[i64] = &[
    463, // setxattrat
    466, // removexattrat
    467, // open_tree_attr
    469, // file_setattr
];

/// ioctls that inject terminal input.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Denies calls that change files, processes or the machine, start programs or signal processes. For a thread that runs
/// code of others, whose calls are not known. Sets no_new_privs.
///
/// # Errors
/// The kernel refuses the filter.
pub fn deny() -> Result<(), seccompiler::Error> {
    deny_all(&[ESCAPES, DENIED, METADATA, METADATA_NEW])
}

/// As [`deny`], for a thread that writes files with their owners and modes: [`files`](crate::files) limits the files that
/// it opens and creates.
///
/// # Errors
/// The kernel refuses the filter.
pub fn deny_but_files() -> Result<(), seccompiler::Error> {
    deny_all(&[ESCAPES, DENIED])
}

fn deny_all(calls: &[&[i64]]) -> Result<(), seccompiler::Error> {
    let mut rules = any(&calls.concat());
    let terminal_input = TERMINAL_INPUT.map(|request| {
        let equal = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)?;
        SeccompRule::new(vec![equal])
    });
    rules.insert(libc::SYS_ioctl, terminal_input.into_iter().collect::<Result<_, _>>()?);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    apply(rules, SeccompAction::Allow, denied)
}
