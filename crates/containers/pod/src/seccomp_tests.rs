use std::collections::BTreeSet;

use super::*;
use crate::capabilities::Capabilities;

/// What the rules without arguments do with a call: its errno, 0 if it is permitted, `None` if no rule has it.
fn outcome(filter: &Value, call: &str) -> Option<u64> {
    let rules = filter["syscalls"].as_array().unwrap().iter();
    let has = |rule: &&Value| rule["names"].as_array().unwrap().contains(&call.into());
    let found: Vec<&Value> = rules.filter(|rule| rule.get("args").is_none()).filter(has).collect();
    assert!(found.len() <= 1, "{call}: {found:?}");
    found.first().map(|rule| rule["errnoRet"].as_u64().unwrap_or(0))
}

#[test]
fn capabilities_permit_calls() {
    let check = |call: &str, permitting: &[&str]| {
        for capability in Capabilities::default().list(true) {
            let expected = if permitting.contains(&capability) { 0 } else { u64::from(EPERM) };
            assert_eq!(
                outcome(&filter("x86_64", &[capability]), call),
                Some(expected),
                "{call} {capability}"
            );
        }
    };
    check("mount", &["CAP_SYS_ADMIN"]);
    check("bpf", &["CAP_BPF", "CAP_SYS_ADMIN"]);
    check("perf_event_open", &["CAP_PERFMON", "CAP_SYS_ADMIN"]);
    check("syslog", &["CAP_SYSLOG", "CAP_SYS_ADMIN"]);
    check("open_by_handle_at", &["CAP_DAC_READ_SEARCH"]);
    check("init_module", &["CAP_SYS_MODULE"]);
    check("kcmp", &["CAP_SYS_PTRACE"]);
    check("settimeofday", &["CAP_SYS_TIME"]);
    check("reboot", &["CAP_SYS_BOOT"]);
    for call in ["keyctl", "kexec_load", "io_uring_setup", "userfaultfd", "pivot_root", "move_pages"] {
        check(call, &[]);
    }
}

#[test]
fn every_call_has_one_outcome() {
    for architecture in ["x86_64", "aarch64", "riscv64"] {
        let all = Capabilities::default().list(true);
        for capabilities in [&[][..], &all] {
            let filter = filter(architecture, capabilities);
            for call in names(ALLOWED.iter().copied()) {
                assert_eq!(outcome(&filter, call), Some(0), "{call}");
            }
            for call in names(REFUSED.iter().copied()) {
                assert_eq!(outcome(&filter, call), Some(EPERM.into()), "{call}");
            }
            // By their arguments.
            for call in ["socket", "personality"] {
                assert_eq!(outcome(&filter, call), None, "{call}");
            }
            let clone = capabilities.contains(&ADMINISTRATOR).then_some(0);
            assert_eq!([outcome(&filter, "clone"), outcome(&filter, "clone3")], [clone; 2]);
        }
    }
    assert_eq!(outcome(&filter("x86_64", &[]), "arch_prctl"), Some(0));
    assert_eq!(outcome(&filter("aarch64", &[]), "arch_prctl"), None);
}

#[test]
fn no_name_is_listed_twice() {
    let conditional = BY_CAPABILITY.iter().chain(BY_ARCHITECTURE).map(|(_, calls)| *calls);
    let conditional: BTreeSet<&str> = names(conditional).collect();
    let mut seen = BTreeSet::new();
    for name in names(ALLOWED.iter().chain(REFUSED).copied()).chain(conditional) {
        assert!(seen.insert(name), "{name}");
    }
}
