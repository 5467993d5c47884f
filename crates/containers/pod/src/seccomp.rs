//! The default filter of system calls: what changes the host, or reaches beyond the pod, fails with EPERM. Capabilities
//! that an app has permit the calls that they are for.

use serde_json::{Value, json};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// Without a capability that permits them.
const ALWAYS: &[&str] = &[
    "add_key",
    "get_kernel_syms",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "move_pages",
    "nfsservctl",
    "pidfd_getfd",
    "query_module",
    "request_key",
    "sysfs",
    "_sysctl",
    "userfaultfd",
    "ustat",
    "vm86",
    "vm86old",
];
/// Calls that one of these capabilities permits.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setns",
            "swapoff",
            "swapon",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_DAC_READ_SEARCH", &["name_to_handle_at", "open_by_handle_at"]),
    ("CAP_SYS_BOOT", &["kexec_file_load", "kexec_load", "reboot"]),
    ("CAP_SYS_MODULE", &["create_module", "delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_NICE", &["mbind", "set_mempolicy"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
];
/// Flags of clone(2) that create namespaces: mount, control group, UTS, IPC, user, PID, network.
const NAMESPACE_FLAGS: [u64; 7] =
    [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// Includes those whose programs the kernel runs too: a call of another architecture must not pass by the filter.
const ARCHITECTURES: [(&str, &[&str]); 2] = [
    ("x86_64", &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    ("aarch64", &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
];

/// The filter for an app with `capabilities`, as the runtime specification has it.
pub fn filter(architecture: &str, capabilities: &[&str]) -> Value {
    let mut refused: Vec<&str> = ALWAYS.to_vec();
    for (capability, calls) in BY_CAPABILITY {
        if !capabilities.contains(capability) {
            refused.extend(*calls);
        }
    }
    let deny =
        |names: &[&str], errno: u32| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno });
    let mut calls = vec![deny(&refused, EPERM)];
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        for flag in NAMESPACE_FLAGS {
            let mut rule = deny(&["clone"], EPERM);
            if let Some(rule) = rule.as_object_mut() {
                let argument =
                    json!([{ "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ" }]);
                rule.insert("args".to_owned(), argument);
            }
            calls.push(rule);
        }
        // Its flags are in memory, which a filter cannot read; without it, the C library uses clone.
        calls.push(deny(&["clone3"], ENOSYS));
    }
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    let mut filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls });
    if let (Some((_, names)), Some(filter)) = (known, filter.as_object_mut()) {
        filter.insert("architectures".to_owned(), json!(names));
    }
    filter
}
