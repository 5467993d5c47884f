//! The rights of a run while it only reads, as observed by the programs that it starts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use support::Machine;

/// Capability bits.
const READ_SEARCH: u64 = 1 << 2;
const BIND_SERVICE: u64 = 1 << 10;
const RAW_IO: u64 = 1 << 17;
const STRANGER: u32 = 4321;

/// A guest tool that records the rights of itself and of each thread of the run, and tries to write to another
/// user's file. The record goes to an inherited descriptor: the tool itself may open no file for writing.
fn record_rights(machine: &Machine, program: &str, response: &str) {
    let script = format!(
        "cd '{}'\n\
         tell() {{ grep -hE '^(Cap(Inh|Prm|Eff)|NoNewPrivs):' \"$2\" 2>/dev/null | sed \"s/^/$1 /\" >&9; }}\n\
         tell program /proc/self/status\n\
         for task in /proc/$PPID/task/*; do\n\
         if [ \"${{task##*/}}\" = $PPID ]; then tell first \"$task/status\"; else tell other \"$task/status\"; fi\ndone\n\
         {{ cat theirs; echo no >> theirs; }} 2>&1 | sed 's/^/tried /' >&9\n{response}",
        machine.folder().display()
    );
    machine.program(program, &script);
}

/// Inheritable, permitted and effective capabilities and `NoNewPrivs` of each recorded task.
fn rights(text: &str) -> Vec<[u64; 4]> {
    let keys = ["CapInh", "CapPrm", "CapEff", "NoNewPrivs"];
    let lines = text.lines().filter_map(|line| line.split_once(":\t"));
    let report: Vec<_> = lines.filter(|(key, _)| keys.contains(key)).collect();
    let one = |lines: &[(&str, &str)]| {
        let lines: BTreeMap<_, _> = lines.iter().copied().collect();
        keys.map(|key| u64::from_str_radix(lines[key], 16).unwrap())
    };
    report.chunks(keys.len()).map(one).collect()
}

#[test]
fn what_reads_has_the_rights_to_read_and_what_applies_has_all() {
    let own = rights(&std::fs::read_to_string("/proc/self/status").unwrap());
    let [_, permitted, ..] = own.into_iter().next().unwrap();
    let config = "#cloud-config\nwrite_files: [{path: /x, owner: stranger, permissions: '0600'}]\n";
    let no_value = "echo 'No value found' >&2; exit 1";
    let vmware = format!(
        "case \"$1\" in *.ovfenv) {no_value};; *.config.data) printf '%s' '{config}';; *) {no_value};; esac"
    );
    let (from, program, response, more) =
        ("-from-vmware-guestinfo", "vmware-rpctool", &vmware, RAW_IO | BIND_SERVICE);
    for task in ["-plan", "-validate", "-convert=butane", ""] {
        let machine = Machine::new();
        machine.put("/etc/passwd", &format!("stranger:x:{STRANGER}:{STRANGER}::/:/bin/sh\n"));
        machine.put("/etc/group", &format!("stranger:x:{STRANGER}:\n"));
        let theirs = machine.folder().join("theirs");
        std::fs::write(&theirs, "theirs\n").unwrap();
        std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o600)).unwrap();
        if chown(&theirs, Some(STRANGER), Some(STRANGER)).is_err() {
            let test = "what_reads_has_the_rights_to_read_and_what_applies_has_all";
            eprintln!("SKIPPED: {test}: only root can create a file of another user");
            return;
        }
        record_rights(&machine, program, response);
        let arguments: Vec<_> = [task, from].into_iter().filter(|text| !text.is_empty()).collect();
        machine.start_with_log("told", &arguments).expect(0, &[]);

        let report = std::fs::read_to_string(machine.folder().join("told")).unwrap();
        let read = |who: &str| -> String {
            let lines = report.lines().filter_map(|line| line.strip_prefix(&format!("{who} ")));
            lines.map(|line| format!("{line}\n")).collect()
        };
        let both = permitted & (READ_SEARCH | more);
        // A source is queried more than once.
        let of_program = rights(&read("program"));
        assert!(!of_program.is_empty() && of_program.iter().all(|one| *one == [0, both, both, 1]), "{task}");
        assert!(rights(&read("first")).iter().all(|[_, own, _, none]| (*own, *none) == (permitted, 0)));
        let others = rights(&read("other"));
        let expect = [0, both, permitted & READ_SEARCH, 1];
        assert!(!others.is_empty() && others.iter().all(|one| *one == expect), "{task}: {others:x?}");
        let tried = read("tried");
        assert!(tried.starts_with("theirs\n") && tried.ends_with("Permission denied\n"), "{tried}");
        assert_eq!(tried.matches("theirs\n").count(), tried.matches("Permission denied\n").count());
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs\n");
        if task.is_empty() {
            assert_eq!(std::fs::metadata(machine.path("/x")).unwrap().uid(), STRANGER);
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
