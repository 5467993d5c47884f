//! Power loss at each step of a run: the next boot completes it with the same result.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Machine;
use crate::support::tracer::{self, Trace};

/// Everything that a run writes itself, without helpers and systemd.
const CONFIG: &str = r##"#cloud-config
hostname: cut
ssh_authorized_keys: [ssh-ed25519 AAAA core]
manage_etc_hosts: localhost
users: [{name: elroy, ssh_authorized_keys: [ssh-ed25519 AAAA elroy]}]
write_files:
- {path: /etc/new/deep/file, content: some content, permissions: "0600"}
- {path: /etc/there, content: new, permissions: "4755"}
- {path: /etc/added, content: "more\n", append: true}
- {path: /etc/missing, content: x, overwrite: false}
- {path: /srv/late, content: y, defer: true}
timezone: Europe/Berlin
coreos:
  oem: {id: test}
  update: {group: beta}
  etcd: {name: a}
  flannel: {interface: eth0}
  units:
  - name: a.service
    content: "[Service]\nExecStart=/bin/true\n"
    drop_ins: [{name: b.conf, content: "[Service]\nUser=c\n"}]
  - {name: masked.service, mask: true}
  - {name: late.service, runtime: true, content: "[Service]\n"}
"##;
const SCRIPT: &str = "#!/bin/sh\necho a script\n";

/// Leftovers of an earlier run and manual changes.
fn prepare(machine: &Machine) {
    machine.put("/home/core/.ssh/authorized_keys", "ssh-rsa BBBB by hand\n");
    machine.put("/etc/there", "an old file");
    machine.put("/etc/added", "what was there\n");
    machine.put("/etc/systemd/system/masked.service", "[Service]\n");
    machine.put("/etc/coreos/update.conf", "GROUP=alpha\nSERVER=here\n");
    machine.put("/usr/share/zoneinfo/Europe/Berlin", "TZif");
}

/// Mode, owner, group and content of each path.
type Tree = BTreeMap<String, (u32, u32, u32, String)>;

fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    collect(root, root, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let status = fs::symlink_metadata(&path).unwrap();
        let content = if status.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if status.is_dir() {
            collect(root, &path, found);
            String::new()
        } else {
            fs::read_to_string(&path).unwrap()
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        found.insert(name, (status.mode(), status.uid(), status.gid(), content));
    }
}

/// The command, with its output discarded.
fn command(machine: &Machine, user_data: &str, more: &[&str]) -> Command {
    let file = machine.folder().join("user-data");
    fs::write(&file, user_data).unwrap();
    let from = format!("-from-file={}", file.display());
    let mut command = machine.command(&[&[&*from], more].concat());
    command.env("COREOS_PRIVATE_IPV4", "10.0.0.9");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Without volatile state and the name of the run's own process.
fn outcome(machine: &Machine) -> Tree {
    let mut tree = tree(&machine.root());
    tree.retain(|path, _| !path.starts_with("run/coreos-cloudinit") && !path.ends_with("scripts/unit-name"));
    tree
}

fn boot(machine: &Machine, user_data: &str, more: &[&str], cut_at: Option<usize>) -> Trace {
    tracer::run(command(machine, user_data, more), cut_at)
}

/// Each file is in its old or new state, including owner and mode.
fn assert_atomic(cut: &Tree, before: &Tree, after: &Tree, step: &str) {
    for (path, found) in cut {
        let name = path.rsplit('/').next().unwrap();
        // Never read, or harmless if missing.
        if name.starts_with(".cloudinit-temp")
            || path.starts_with("run/coreos-cloudinit")
            || name == "unit-name"
        {
            continue;
        }
        let is_one = before.get(path) == Some(found) || after.get(path) == Some(found);
        assert!(is_one, "{step}: {path} is {found:?}");
    }
    for (path, found) in before {
        let lost = !cut.contains_key(path) && after.contains_key(path);
        assert!(!lost, "{step}: {path} is not there, and was {found:?}");
    }
}

/// Cuts the run at each step and runs it again.
fn check(user_data: &str, more: &[&str]) {
    let whole = Machine::new();
    prepare(&whole);
    let before = tree(&whole.root());
    let uncut = boot(&whole, user_data, more, None);
    assert_eq!(uncut.code, Some(0));
    let (after, wanted) = (tree(&whole.root()), outcome(&whole));
    assert!(uncut.steps.len() > 10, "{:?}", uncut.steps);
    for at in 0..uncut.steps.len() {
        let machine = Machine::new();
        prepare(&machine);
        let cut = boot(&machine, user_data, more, Some(at));
        let step = format!("step {at}, before {}", uncut.steps[at]);
        assert_eq!((cut.code, cut.steps.len()), (None, at), "{step}");
        tracer::discard_unflushed(&machine.root(), &cut.unflushed_files);
        assert_atomic(&tree(&machine.root()), &before, &after, &step);
        // The contents of memory are lost.
        fs::remove_dir_all(machine.path("/run")).unwrap_or(());
        let again = command(&machine, user_data, more).status().unwrap();
        assert!(again.success(), "{step}");
        assert_eq!(outcome(&machine), wanted, "{step}");
    }
    println!("{} steps", uncut.steps.len());
}

#[test]
fn interrupted_config_is_applied_at_the_next_boot() {
    check(CONFIG, &[]);
}

#[test]
fn interrupted_script_is_stored_at_the_next_boot() {
    check(SCRIPT, &[]);
}

/// The stamp is written last.
#[test]
fn interrupted_once_and_persist_are_completed_at_the_next_boot() {
    check("#cloud-config\nhostname: a\nwrite_files: [{path: /etc/x, content: y}]\n", &["-once", "-persist"]);
}

/// The order on disk: content, name, stamp.
#[test]
fn everything_is_flushed_before_it_is_recorded() {
    for (user_data, more) in [(CONFIG, &["-once", "-persist"][..]), (SCRIPT, &[])] {
        let machine = Machine::new();
        prepare(&machine);
        let trace = boot(&machine, user_data, more, None);
        assert_eq!(trace.code, Some(0));
        assert_eq!(trace.renamed_unflushed, [0_usize; 0], "renames of {:?}", trace.steps);
        let names: BTreeMap<_, _> = paths(&machine.root());
        // `/run` does not survive a reboot.
        let is_volatile = |name: &String| name == "run" || name.starts_with("run/");
        let mut left = trace.unflushed_folders;
        left.retain(|folder, _| !names.get(folder).is_some_and(is_volatile));
        let left: Vec<_> = left.iter().map(|(folder, step)| (names.get(folder), step)).collect();
        assert!(left.is_empty(), "not flushed at the end: {left:?} of {} steps", trace.steps.len());
    }
}

fn paths(root: &Path) -> BTreeMap<tracer::Inode, String> {
    let mut all: Vec<_> = tree(root).into_keys().collect();
    all.push(String::new());
    let inode = |path: &String| {
        let found = fs::symlink_metadata(root.join(path)).unwrap();
        (found.dev(), found.ino())
    };
    all.into_iter().map(|path| (inode(&path), path)).collect()
}
