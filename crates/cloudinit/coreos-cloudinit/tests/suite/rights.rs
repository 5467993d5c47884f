//! The rights of a run while it only reads, as a tracer observes them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::support::{Machine, vmware};

/// Capability bits.
const READ_SEARCH: u64 = 1 << 2;
const RAW_IO: u64 = 1 << 17;
const OTHER: u32 = 4321;

/// Inheritable, permitted and effective capabilities and `NoNewPrivs` of a task.
fn rights(text: &str) -> [u64; 4] {
    let lines: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once(":\t")).collect();
    ["CapInh", "CapPrm", "CapEff", "NoNewPrivs"].map(|key| u64::from_str_radix(lines[key], 16).unwrap())
}

#[test]
fn what_reads_has_the_rights_to_read_and_what_applies_has_all() {
    let [_, permitted, ..] = rights(&std::fs::read_to_string("/proc/self/status").unwrap());
    let config = "#cloud-config\nwrite_files: [{path: /x, owner: other, permissions: '0600'}]\n";
    for task in ["-plan", "-validate", "-convert=butane", ""] {
        let machine = Machine::new();
        vmware::firmware(&machine);
        machine.put("/etc/passwd", &format!("other:x:{OTHER}:{OTHER}::/:/bin/sh\n"));
        machine.put("/etc/group", &format!("other:x:{OTHER}:\n"));
        let mut hypervisor = vmware::Hypervisor::new(&[("coreos.config.data", config)]);
        let arguments: Vec<_> =
            [task, "-from-vmware-guestinfo"].into_iter().filter(|text| !text.is_empty()).collect();
        let observed = vmware::run(&machine, &arguments, Some(&mut hypervisor));
        let [_, own, _, no_new_privileges] = rights(&observed.first_thread);
        assert_eq!((own, no_new_privileges), (permitted, 0), "{task}");
        let reads = permitted & (READ_SEARCH | RAW_IO);
        let others: Vec<_> = observed.other_threads.iter().map(|status| rights(status)).collect();
        assert!(!others.is_empty(), "{task}");
        assert!(others.iter().all(|one| *one == [0, reads, reads, 1]), "{task}: {others:x?}");
        if !nix::unistd::geteuid().is_root() {
            eprintln!(
                "SKIPPED: what_reads_has_the_rights_to_read_and_what_applies_has_all: only root applies it"
            );
            continue;
        }
        observed.output.expect(0, &[]);
        if task.is_empty() {
            assert_eq!(std::fs::metadata(machine.path("/x")).unwrap().uid(), OTHER);
        }
    }
}

/// Makes the command's kernel one without Landlock.
#[allow(unsafe_code, reason = "system calls between fork and exec")]
fn without_landlock(command: &mut Command) {
    let rules = [(libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let target = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, target).unwrap();
    let filter = BpfProgram::try_from(filter).unwrap();
    // SAFETY: only system calls on a filter that was built before the fork.
    unsafe {
        command.pre_exec(move || apply_filter(&filter).map_err(|_| std::io::Error::last_os_error()));
    }
}

#[test]
fn a_kernel_without_landlock_is_reported_once_per_boot() {
    let machine = Machine::new();
    let user_data = machine.folder().join("user-data");
    std::fs::write(&user_data, "#cloud-config\nhostname: a\n").unwrap();
    let from = format!("-from-file={}", user_data.display());
    let warnings = |arguments: &[&str], journal: bool| {
        let mut command = machine.command(arguments);
        command.arg(&from).envs(journal.then_some(("JOURNAL_STREAM", "1:2")));
        without_landlock(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let can = |line: &&str| line.contains("can create, write and remove files that root owns");
        let lines: Vec<_> = text.lines().filter(can).filter(|line| !line.starts_with("<7>")).collect();
        assert!(lines.iter().all(|line| line.starts_with("<4>") && line.contains("no Landlock")), "{text}");
        lines.len()
    };
    assert_eq!(warnings(&["-validate"], true), 0, "what changes nothing leaves no record either");
    assert_eq!(warnings(&[], false), 0, "a terminal shows what the original shows");
    assert_eq!(warnings(&[], true), 1);
    assert_eq!(warnings(&[], true), 0);
    // A boot empties /run.
    std::fs::remove_dir_all(machine.path("/run")).unwrap();
    assert_eq!(warnings(&[], true), 1);
}
