//! System calls that an app makes. The app is this test program, in a pod of crun's.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{fs, io};

use nix::libc;

use crate::lab::{IMAGE, Lab, Printed};

/// Without a right to change anything, also where they are permitted: their arguments are invalid.
const BAD: i64 = -1;
const NAMESPACES: [(&str, i32); 7] = [
    ("clone mount", libc::CLONE_NEWNS),
    ("clone control group", libc::CLONE_NEWCGROUP),
    ("clone host name", libc::CLONE_NEWUTS),
    ("clone ipc", libc::CLONE_NEWIPC),
    ("clone user", libc::CLONE_NEWUSER),
    ("clone pid", libc::CLONE_NEWPID),
    ("clone network", libc::CLONE_NEWNET),
];
const FAMILY_VSOCK: i64 = libc::AF_VSOCK as i64;
const UNKNOWN_CALL: i64 = 1023;

/// The name of an attempt, its system call, and the arguments.
type Attempt = (&'static str, i64, [i64; 3]);

/// Refused to an app with the default capabilities.
const REFUSED: &[Attempt] = &[
    ("acct", libc::SYS_acct, [BAD, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 3]),
    ("bpf", libc::SYS_bpf, [BAD, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0; 3]),
    ("init_module", libc::SYS_init_module, [0; 3]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 3]),
    ("kcmp", libc::SYS_kcmp, [BAD; 3]),
    ("kexec_load", libc::SYS_kexec_load, [0, BAD, BAD]),
    ("keyctl", libc::SYS_keyctl, [BAD, 0, 0]),
    ("mount", libc::SYS_mount, [0; 3]),
    ("move_pages", libc::SYS_move_pages, [0, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [BAD, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 3]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [BAD, BAD, 0]),
    ("reboot", libc::SYS_reboot, [0; 3]),
    ("request_key", libc::SYS_request_key, [0; 3]),
    ("setns", libc::SYS_setns, [BAD, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [0; 3]),
    ("swapoff", libc::SYS_swapoff, [0; 3]),
    ("syslog", libc::SYS_syslog, [BAD, 0, 0]),
    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as i64, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [0xff, 0, 0]),
    ("socket vsock", libc::SYS_socket, [FAMILY_VSOCK, libc::SOCK_STREAM as i64, 0]),
    ("socket crypto", libc::SYS_socket, [libc::AF_ALG as i64, libc::SOCK_SEQPACKET as i64, 0]),
];
/// The kernel reads 32 bits of the family, a filter compares 64.
const OTHER_FAMILIES: [Attempt; 2] = [
    ("socket vsock with a high bit", libc::SYS_socket, [1 << 32 | FAMILY_VSOCK, libc::SOCK_STREAM as i64, 0]),
    ("socket of no family", libc::SYS_socket, [9999, libc::SOCK_STREAM as i64, 0]),
];
/// As on a kernel that does not have them.
const UNKNOWN: [Attempt; 2] = [("clone3", libc::SYS_clone3, [0; 3]), ("unknown call", UNKNOWN_CALL, [0; 3])];
/// Permitted: the kernel examines the arguments.
const PERMITTED: &[Attempt] = &[
    ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as i64, 0x7fff_ffff, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [BAD, 0, 0]),
    ("clone", libc::SYS_clone, [libc::CLONE_THREAD as i64, 0, 0]),
    ("personality", libc::SYS_personality, [0xffff_ffff, 0, 0]),
    ("socket unix", libc::SYS_socket, [libc::AF_UNIX as i64, libc::SOCK_STREAM as i64, 0]),
    ("socket ip", libc::SYS_socket, [libc::AF_INET as i64, libc::SOCK_DGRAM as i64, 0]),
    ("socket netlink", libc::SYS_socket, [libc::AF_NETLINK as i64, libc::SOCK_RAW as i64, 0]),
    ("memfd_create", libc::SYS_memfd_create, [0; 3]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [BAD, 0, 0]),
    ("chroot", libc::SYS_chroot, [0; 3]),
];

/// `CLONE_THREAD` without what it requires: no process is created.
fn clones() -> impl Iterator<Item = Attempt> {
    NAMESPACES
        .iter()
        .map(|(name, flag)| (*name, libc::SYS_clone, [i64::from(*flag | libc::CLONE_THREAD), 0, 0]))
}

fn attempts() -> impl Iterator<Item = Attempt> {
    REFUSED.iter().chain(&OTHER_FAMILIES).chain(&UNKNOWN).chain(PERMITTED).copied().chain(clones())
}

/// Not a test of its own: the app.
#[test]
#[ignore = "started by the tests below"]
fn app() {
    for (name, call, arguments) in attempts() {
        println!("\nattempt {name}: {}", errno(call, arguments));
    }
    std::process::exit(0);
}

/// 0 if the call succeeded.
#[allow(unsafe_code, reason = "no safe wrapper makes a call of any number")]
fn errno(call: i64, [one, two, three]: [i64; 3]) -> i32 {
    // SAFETY: null or invalid addresses, which the kernel checks.
    let result = unsafe { libc::syscall(call, one, two, three, 0, 0, 0) };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap() }
}

/// Runs the app, and returns the outcome of each attempt.
fn run(lab: &Lab, insecure: &str, flags: &[&str]) -> BTreeMap<String, i32> {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap().display();
    let options = format!("--insecure-options=image{insecure}");
    let mut arguments = vec!["run".to_owned(), options, "--net=none".to_owned()];
    let mut mounts = Vec::new();
    let sources = [("lib", "/lib".to_owned()), ("lib64", "/lib64".to_owned()), ("app", folder.to_string())];
    for (name, source) in sources.iter().filter(|(_, source)| Path::new(source).exists()) {
        arguments.push(format!("--volume={name},kind=host,source={source},readOnly=true"));
        mounts.push(format!("--mount=volume={name},target=/{name}"));
    }
    let exec = format!("--exec=/app/{}", program.file_name().unwrap().display());
    arguments.extend([IMAGE.to_owned(), exec]);
    arguments.extend(mounts);
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    arguments.extend(["--", "--exact", "seccomp::app", "--ignored", "--nocapture"].map(str::to_owned));
    let printed = lab.rkt(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let lines = printed.stdout.lines().filter_map(|line| line.strip_prefix("attempt ")?.split_once(": "));
    let outcomes: BTreeMap<_, _> =
        lines.map(|(name, errno)| (name.to_owned(), errno.parse().unwrap())).collect();
    assert_eq!(outcomes.len(), attempts().count(), "{printed:?}");
    outcomes
}

#[test]
fn calls_of_an_app() {
    let Some(lab) = Lab::with_image("calls_of_an_app") else { return };
    let outcomes = run(&lab, "", &[]);
    let check = |(name, ..): Attempt, expected: i32| assert_eq!(outcomes[name], expected, "{name}");
    REFUSED.iter().copied().chain(clones()).for_each(|attempt| check(attempt, libc::EPERM));
    OTHER_FAMILIES.into_iter().for_each(|attempt| check(attempt, libc::EAFNOSUPPORT));
    UNKNOWN.into_iter().for_each(|attempt| check(attempt, libc::ENOSYS));
    for (name, ..) in PERMITTED {
        let outcome = outcomes[*name];
        assert!(![libc::EPERM, libc::ENOSYS, libc::EAFNOSUPPORT].contains(&outcome), "{name} {outcome}");
    }
}

/// It is the filter that refuses: without it, and with all capabilities, the kernel examines the arguments.
#[test]
fn calls_without_the_filter() {
    let Some(lab) = Lab::with_image("calls_without_the_filter") else { return };
    let outcomes = run(&lab, ",all-run", &[]);
    for (name, ..) in REFUSED.iter().copied().chain(clones()) {
        assert_ne!(outcomes[name], libc::EPERM, "{name}");
    }
    assert_eq!(outcomes["clone3"], libc::EINVAL);
}

#[test]
fn capabilities_permit_their_calls() {
    let Some(lab) = Lab::with_image("capabilities_permit_their_calls") else { return };
    let check = |flags: &[&str], insecure: &str, permitted: &[&str]| {
        let outcomes = run(&lab, insecure, flags);
        for (name, ..) in REFUSED.iter().copied().chain(clones()) {
            let is_permitted = permitted.contains(&name);
            assert_eq!(outcomes[name] != libc::EPERM, is_permitted, "{flags:?} {insecure} {name}");
        }
    };
    let administrator = ["bpf", "fsopen", "mount", "perf_event_open", "setns", "unshare"].into_iter();
    let administrator: Vec<&str> = administrator.chain(NAMESPACES.map(|(name, _)| name)).collect();
    check(&["--caps-retain=CAP_SYS_ADMIN"], "", &administrator);
    let others = [
        "acct",
        "init_module",
        "kcmp",
        "open_by_handle_at",
        "pidfd_getfd",
        "reboot",
        "settimeofday",
        "syslog",
    ];
    // Calls that nobody has remain.
    check(&[], ",capabilities", &[&administrator[..], &others].concat());
}

/// Calls of Linux 6.8 to 6.13, which libseccomp 2.5 does not know.
const NEW_CALLS: [&str; 11] = [
    "getxattrat",
    "listmount",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mseal",
    "removexattrat",
    "setxattrat",
    "statmount",
    "uretprobe",
];

/// The runtime ignores names that libseccomp does not know: a misspelled one would be refused to every app.
#[test]
fn the_runtime_knows_every_name() {
    let Some(lab) = Lab::with_image("the_runtime_knows_every_name") else { return };
    let run = |added: &str| {
        let edits: String = NEW_CALLS.iter().map(|name| format!("s/\"{name}\",//g; ")).collect();
        let annotation = "\"annotations\":{\"run.oci.seccomp_fail_unknown_syscall\":\"1\"},";
        let script = format!(
            "#!/bin/sh\n\
             for bundle; do case $bundle in */apps/*) test -f $bundle/config.json && \
             sed -i '{edits} s/^{{/{{{annotation}/; s/\"accept4\"/&{added}/' $bundle/config.json; esac; done\n\
             exec crun \"$@\"\n"
        );
        let path = lab.path("runtime");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let arguments = [
            "run",
            "--insecure-options=image,capabilities",
            "--net=none",
            IMAGE,
            "--exec=echo",
            "--",
            "started",
        ];
        let printed: Printed = lab.command(&arguments).env("RKT_RUNTIME", &path).output().unwrap().into();
        printed
    };
    let printed = run("");
    assert_eq!((printed.code, printed.stdout.as_str()), (Some(0), "started\n"), "{printed:?}");
    let printed = run(",\"no_such_call\"");
    assert!(printed.code != Some(0) && printed.stderr.contains("no_such_call"), "{printed:?}");
}
