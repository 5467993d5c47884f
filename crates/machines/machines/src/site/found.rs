//! The background processes of a cluster, found by their command lines.
//!
//! A keelson that is killed between the start of a process and the writing of its number leaves a process of which
//! the state file does not know; each names a file of its cluster's folder, by which the next keelson knows it. It
//! must never take a process that only looks at the cluster's files, such as a pager on a console's log.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::background::Background;
use crate::cluster::Cluster;
use crate::process::Process;
use crate::store::Layout;

/// What a background process of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Of a container: ends by itself, and tidies up, once its guest has ended.
    Keeper,
    Machine,
    Lan,
    Discovery,
}

/// A process and the words of its command line.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) process: Process,
    words: Vec<OsString>,
}

impl Found {
    /// What it is of the cluster or node whose folder is `root`, if it is of that one.
    pub(super) fn role(&self, root: &Path, background: &Background) -> Option<Role> {
        role(&self.words, root, background)
    }
}

/// All processes of this host that may be looked at.
pub(super) fn all() -> Vec<Found> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let found = |pid| {
        let process = Process::of(pid)?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Some(Found { process, words: words.map(|word| OsString::from_vec(word.to_vec())).collect() })
    };
    numbers.filter_map(found).collect()
}

/// Gives `cluster` the processes that run for it and that its state does not know; tells whether there are any.
pub fn adopt(layout: &Layout, cluster: &mut Cluster, background: &Background) -> bool {
    let found = all();
    let mut adopted = false;
    let mut fill = |known: &mut Option<Process>, root: &Path, roles: &[Role]| {
        if known.is_some_and(Process::alive) {
            return;
        }
        let ours = |found: &&Found| found.role(root, background).is_some_and(|role| roles.contains(&role));
        if let Some(found) = found.iter().find(ours) {
            *known = Some(found.process);
            adopted = true;
        }
    };
    for node in &mut cluster.nodes {
        fill(&mut node.process, layout.node(&node.name).root(), &[Role::Machine, Role::Keeper]);
    }
    fill(&mut cluster.lan, &layout.lan(), &[Role::Lan]);
    adopted
}

/// Discovery services of the cluster that its state does not know. Nobody was told their tokens.
pub(super) fn unknown_discovery(layout: &Layout, cluster: &Cluster, background: &Background) -> Vec<Process> {
    let known = cluster.discovery.as_ref().and_then(|discovery| discovery.process);
    let folder = layout.discovery();
    all()
        .into_iter()
        .filter(|found| found.role(&folder, background) == Some(Role::Discovery))
        .map(|found| found.process)
        .filter(|process| Some(*process) != known)
        .collect()
}

/// What a command line is of the cluster in `root`, if it is of that one.
fn role(words: &[OsString], root: &Path, background: &Background) -> Option<Role> {
    let (program, rest) = words.split_first()?;
    let name = Path::new(program).file_name().unwrap_or_default();
    if name.as_bytes().starts_with(b"qemu-system-") {
        let folder = [root.as_os_str().as_bytes(), b"/"].concat();
        // In a value of QEMU's options a comma is doubled.
        let times = |byte: u8| if byte == b',' { 2 } else { 1 };
        let folder: Vec<u8> =
            folder.iter().flat_map(|byte| std::iter::repeat_n(*byte, times(*byte))).collect();
        return rest.iter().any(|word| holds(word.as_bytes(), &folder)).then_some(Role::Machine);
    }
    // Of the discovery service a port stands behind its folder.
    if let Some((task, [folder, _port])) = rest.split_last_chunk()
        && is(task, &background.discovery)
    {
        return Path::new(folder).starts_with(root).then_some(Role::Discovery);
    }
    let (file, task) = rest.split_last()?;
    if !Path::new(file).starts_with(root) {
        return None;
    }
    [(Role::Lan, &background.lan), (Role::Keeper, &background.keeper)]
        .into_iter()
        .find_map(|(role, wanted)| is(task, wanted).then_some(role))
}

fn is(task: &[OsString], wanted: &[String]) -> bool {
    !wanted.is_empty() && task.iter().eq(wanted.iter().map(OsStr::new))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;
    use crate::cluster::{NodeState, Wish, tests::image};
    use crate::site::Site;
    use crate::status;

    pub(in crate::site) fn background() -> Background {
        let words = |task: &str| vec!["internal".to_owned(), task.to_owned()];
        Background {
            program: "/usr/bin/keelson".into(),
            lan: words("lan"),
            keeper: words("keeper"),
            discovery: words("discovery"),
        }
    }

    #[test]
    fn only_the_cluster_s_own_processes_belong_to_it() {
        let check = |line: &str, expect: Option<Role>| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(role(&words, Path::new("/s/a,b"), &background()), expect, "{line}");
        };
        check(
            "/usr/bin/qemu-system-x86_64 -drive file=/s/a,,b/core-01/disk.qcow2,if=none",
            Some(Role::Machine),
        );
        check("/usr/bin/qemu-system-x86_64 -drive file=/s/a,,bc/core-01/disk.qcow2", None);
        check("/k/keelson internal lan /s/a,b/lan", Some(Role::Lan));
        check("keelson internal keeper /s/a,b/core-01/keeper.json", Some(Role::Keeper));
        check("keelson internal lan /s/a,bc/lan", None);
        check("keelson internal discovery /s/a,b/discovery 4001", Some(Role::Discovery));
        check("less /s/a,b/core-01/console.log", None);
        check("keelson destroy", None);
        check("", None);
    }

    /// A process with a command line of one's choice: bash names itself as it is told.
    fn named(program: &str, words: &[&str], log: &Path) -> Process {
        let mut command = Command::new("bash");
        command.arg0(program).args(["-c", "while :; do sleep 1; done"]).args(words);
        Process::spawn(command, log).unwrap()
    }

    #[test]
    fn a_machine_whose_number_was_never_written_is_known_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a").unwrap();
        let lock = || layout.lock("test", &false.into(), &mut |_| ()).unwrap();
        drop(lock());
        // As a keelson leaves it that was killed after QEMU's start.
        let written = Cluster::new("a", &Wish { nodes: 2, ..Wish::default() }, image());
        layout.save(&written).unwrap();
        let log = folder.path().join("log");
        let disk = format!("file={}", layout.node("core-02").disk().display());
        let machine = named("qemu-system-x86_64", &["-drive", &disk], &log);
        let service = layout.discovery();
        let mut background = background();
        background.discovery = ["-c", "while :; do sleep 1; done", "discovery"].map(str::to_owned).to_vec();
        let discovery = named("bash", &["discovery", service.to_str().unwrap(), "1"], &log);

        let mut cluster = layout.load().unwrap().unwrap();
        assert!(adopt(&layout, &mut cluster, &background));
        let seen = status::of(&layout, &cluster);
        assert_eq!((seen[0].pid, seen[1].pid), (None, Some(machine.pid)));
        assert_eq!(seen[1].state, NodeState::Starting);

        let site = Site::open(layout.clone(), lock(), background, Default::default()).unwrap();
        assert!(!discovery.alive(), "nobody knows its token");
        assert_eq!(layout.load().unwrap().unwrap().nodes[1].process, Some(machine), "not written");
        site.crash("core-02").unwrap();
        assert!(!machine.alive());
    }
}
