//! The system calls of the default filter, by what they are for.
//!
//! The effect is that of Docker's default profile (moby/profiles, seccomp/default.json, of May 2026). Names are
//! libseccomp's; the runtime ignores those that its version of libseccomp does not know.

/// Permitted with any arguments.
pub const ALLOWED: &[&str] = &[
    // Processes and threads.
    "brk capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait \
     futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid getegid32 geteuid geteuid32 \
     getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getrandom getresgid \
     getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get \
     ioprio_set membarrier pidfd_open prctl prlimit64 process_mrelease restart_syscall rseq \
     sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
     sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity \
     sched_setattr sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area \
     set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 \
     setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid \
     setreuid32 setrlimit setsid setuid setuid32 sysinfo times ugetrlimit umask uname uretprobe vfork \
     wait4 waitid waitpid",
    // Restrictions of the caller's own.
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    // Memory.
    "madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect \
     mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages",
    // Signals.
    "kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn \
     rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd \
     signalfd4 sigprocmask sigreturn tgkill tkill",
    // Time; to set a clock also takes a capability.
    "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
     clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer \
     time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime \
     timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    // Paths.
    "access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmodat fchmodat2 fchownat \
     fstatat64 futimesat getcwd getxattr getxattrat lchown lchown32 lgetxattr link linkat listmount \
     listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat \
     name_to_handle_at newfstatat open openat openat2 readlink readlinkat removexattr removexattrat \
     rename renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statmount statx \
     symlink symlinkat truncate truncate64 unlink unlinkat utime utimensat utimensat_time64 utimes",
    // Open files.
    "_llseek cachestat close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 fallocate \
     fchmod fchown fchown32 fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr \
     fstat fstat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 getdents getdents64 ioctl lseek pipe \
     pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64 \
     splice sync sync_file_range syncfs tee vmsplice write writev",
    // Events.
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
     epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 \
     inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup \
     io_submit poll ppoll ppoll_time64 pselect6 pselect6_time64 select",
    // Sockets, but for `socket`.
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg \
     recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    // System V and POSIX IPC.
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
     mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop \
     semtimedop_time64 shmat shmctl shmdt shmget",
    // Tracing, of processes in the pod: since Linux 4.8 a tracer cannot pass by the filter of its tracee.
    "process_vm_readv process_vm_writev ptrace",
];

/// Permitted on an architecture, by its name in Rust.
pub const BY_ARCHITECTURE: &[(&str, &str)] = &[
    ("x86_64", "arch_prctl modify_ldt"),
    ("aarch64", "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
];

/// Permitted by a capability; a call may have several.
pub const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_BPF", "bpf"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_PERFMON", "perf_event_open"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYSLOG", "syslog"),
];

/// Permitted to nobody, whatever the capabilities. They fail with EPERM, which says that they exist; what no list has
/// fails with ENOSYS.
pub const REFUSED: &[&str] = &[
    // Keys of the host's kernel, which no namespace separates.
    "add_key keyctl request_key",
    // Large attack surfaces.
    "io_uring_enter io_uring_register io_uring_setup userfaultfd",
    // The host as a whole.
    "kexec_file_load kexec_load pivot_root swapoff swapon",
    // Memory of other processes.
    "migrate_pages move_pages",
    // Obsolete.
    "_sysctl bdflush create_module get_kernel_syms nfsservctl query_module sysfs uselib ustat vm86 vm86old",
];

/// Values of `personality`: Linux, Linux with 32-bit addresses, both with the version of Linux 2.6, and the question.
pub const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Families of sockets that are refused, in their order: the kernel's cryptography, and those to the hypervisor.
pub const REFUSED_FAMILIES: [u64; 2] = [38, 40];
/// The last family of Linux 6.12, AF_MCTP.
pub const LAST_FAMILY: u64 = 45;

/// Flags of clone(2) that create namespaces: mount, control group, UTS, IPC, user, PID, network.
pub const NAMESPACE_FLAGS: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
