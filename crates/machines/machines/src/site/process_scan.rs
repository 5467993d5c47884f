//! Finds the background processes of a cluster by their command lines.
//!
//! If keelson is killed after it started a process and before it recorded the pid, the state file does not know the
//! process. Each process has a path of its cluster's folder in its command line, by which the next keelson identifies
//! it. Processes that only read the cluster's files, such as a pager on a console log, must not match.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::background::Background;
use crate::cluster::Cluster;
use crate::process::Process;
use crate::store::Layout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Supervisor of a container: cleans up and exits once its guest has exited.
    Supervisor,
    /// Supervisor of a QEMU machine: QEMU is killed with it.
    QemuSupervisor,
    Qemu,
    Lan,
    Discovery,
}

#[derive(Debug)]
pub(super) struct ScannedProcess {
    pub(super) process: Process,
    arguments: Vec<OsString>,
}

impl ScannedProcess {
    /// The role of this process in the cluster or node whose folder is `root`, if it belongs to it.
    pub(super) fn role(&self, root: &Path, background: &Background) -> Option<Role> {
        role(&self.arguments, root, background)
    }
}

/// All processes of this host that are readable.
pub(super) fn scan() -> Vec<ScannedProcess> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inspect = |pid| {
        let process = Process::of(pid)?;
        let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = cmdline.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        Some(ScannedProcess {
            process,
            arguments: arguments.map(|argument| OsString::from_vec(argument.to_vec())).collect(),
        })
    };
    pids.filter_map(inspect).collect()
}

/// Records in `cluster` the running processes that its state does not know; returns whether there were any.
pub fn adopt(layout: &Layout, cluster: &mut Cluster, background: &Background) -> bool {
    let processes = scan();
    let mut adopted = false;
    let mut fill = |known: &mut Option<Process>, root: &Path, roles: &[Role]| {
        if known.is_some_and(Process::alive) {
            return;
        }
        let ours =
            |found: &&ScannedProcess| found.role(root, background).is_some_and(|role| roles.contains(&role));
        if let Some(found) = processes.iter().find(ours) {
            *known = Some(found.process);
            adopted = true;
        }
    };
    for node in &mut cluster.nodes {
        // A QEMU without its supervisor is about to exit.
        let roles = [Role::Supervisor, Role::QemuSupervisor];
        fill(&mut node.process, layout.node(&node.name).root(), &roles);
    }
    fill(&mut cluster.lan, &layout.lan(), &[Role::Lan]);
    adopted
}

/// Discovery services of the cluster that its state does not know. No member has their tokens.
pub(super) fn unknown_discovery(layout: &Layout, cluster: &Cluster, background: &Background) -> Vec<Process> {
    let known = cluster.discovery.as_ref().and_then(|discovery| discovery.process);
    let folder = layout.discovery();
    scan()
        .into_iter()
        .filter(|found| found.role(&folder, background) == Some(Role::Discovery))
        .map(|found| found.process)
        .filter(|process| Some(*process) != known)
        .collect()
}

/// The role of a command line in the cluster whose folder is `root`, if it belongs to it.
fn role(arguments: &[OsString], root: &Path, background: &Background) -> Option<Role> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name().unwrap_or_default();
    if name.as_bytes().starts_with(b"qemu-system-") {
        let folder = [root.as_os_str().as_bytes(), b"/"].concat();
        // QEMU options escape a comma by doubling it.
        let times = |byte: u8| if byte == b',' { 2 } else { 1 };
        let folder: Vec<u8> =
            folder.iter().flat_map(|byte| std::iter::repeat_n(*byte, times(*byte))).collect();
        return rest.iter().any(|argument| contains(argument.as_bytes(), &folder)).then_some(Role::Qemu);
    }
    // The discovery service has its port after the folder.
    if let Some((leading, [folder, _port])) = rest.split_last_chunk()
        && matches(leading, &background.discovery)
    {
        return Path::new(folder).starts_with(root).then_some(Role::Discovery);
    }
    let (file, leading) = rest.split_last()?;
    if !Path::new(file).starts_with(root) {
        return None;
    }
    let roles = [
        (Role::Lan, &background.lan),
        (Role::Supervisor, &background.supervisor),
        (Role::QemuSupervisor, &background.qemu),
    ];
    roles.into_iter().find_map(|(role, wanted)| matches(leading, wanted).then_some(role))
}

fn matches(leading: &[OsString], wanted: &[String]) -> bool {
    !wanted.is_empty() && leading.iter().eq(wanted.iter().map(OsStr::new))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use nix::sys::signal::Signal;

    use super::*;
    use crate::cluster::{ClusterSpec, NodeState, tests::image};
    use crate::guest::Guest;
    use crate::site::Site;
    use crate::status;

    pub(in crate::site) fn background() -> Background {
        let arguments = |leading: &str| vec!["internal".to_owned(), leading.to_owned()];
        Background {
            program: "/usr/bin/keelson".into(),
            lan: arguments("lan"),
            supervisor: arguments("keeper"),
            qemu: arguments("qemu"),
            discovery: arguments("discovery"),
        }
    }

    #[test]
    fn processes_are_matched_to_their_cluster() {
        let check = |cmdline: &str, expect: Option<Role>| {
            let arguments: Vec<OsString> = cmdline.split(' ').map(OsString::from).collect();
            assert_eq!(role(&arguments, Path::new("/s/a,b"), &background()), expect, "{cmdline}");
        };
        check("/usr/bin/qemu-system-x86_64 -drive file=/s/a,,b/core-01/disk.qcow2,if=none", Some(Role::Qemu));
        check("/usr/bin/qemu-system-x86_64 -drive file=/s/a,,bc/core-01/disk.qcow2", None);
        check("/k/keelson internal lan /s/a,b/lan", Some(Role::Lan));
        check("keelson internal keeper /s/a,b/core-01/keeper.json", Some(Role::Supervisor));
        check("keelson internal qemu /s/a,b/core-01/keeper.json", Some(Role::QemuSupervisor));
        check("keelson internal lan /s/a,bc/lan", None);
        check("keelson internal discovery /s/a,b/discovery 4001", Some(Role::Discovery));
        check("less /s/a,b/core-01/console.log", None);
        check("keelson destroy", None);
        check("", None);
    }

    /// Spawns bash with a chosen command line.
    fn spawn_named(program: &str, arguments: &[&str], log: &Path) -> Process {
        let mut command = Command::new("bash");
        command.arg0(program).args(["-c", "while :; do sleep 1; done"]).args(arguments);
        Process::spawn(command, log).unwrap()
    }

    #[test]
    fn an_unrecorded_process_is_adopted_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a").unwrap();
        let lock = || layout.lock("test", &false.into(), &mut |_| ()).unwrap();
        drop(lock());
        // The state that keelson leaves if it is killed after QEMU has started.
        let written = Cluster::new("a", &ClusterSpec { nodes: 2, ..ClusterSpec::default() }, image());
        layout.save(&written).unwrap();
        let log = folder.path().join("log");
        let disk = format!("file={}", layout.node("core-02").disk().display());
        let qemu = spawn_named("qemu-system-x86_64", &["-drive", &disk], &log);
        let plan = layout.node("core-02").node_plan().display().to_string();
        let machine = spawn_named("keelson", &["qemu", &plan], &log);
        let service = layout.discovery();
        let mut background = background();
        let spawned = |name: &str| ["-c", "while :; do sleep 1; done", name].map(str::to_owned).to_vec();
        (background.discovery, background.qemu) = (spawned("discovery"), spawned("qemu"));
        let discovery = spawn_named("bash", &["discovery", service.to_str().unwrap(), "1"], &log);

        let mut cluster = layout.load().unwrap().unwrap();
        assert!(adopt(&layout, &mut cluster, &background));
        let statuses = status::of(&layout, &cluster);
        assert_eq!((statuses[0].pid, statuses[1].pid), (None, Some(machine.pid)));
        assert_eq!(statuses[1].state, NodeState::Starting);

        let site = Site::open(layout.clone(), lock(), background, Default::default()).unwrap();
        assert!(!discovery.alive(), "nobody knows its token");
        assert_eq!(layout.load().unwrap().unwrap().nodes[1].process, Some(machine), "not written");
        let guest = Guest { process: qemu, warnings: vec![] };
        guest.write(&layout.node("core-02").guest()).unwrap();
        // A supervisor exits with its QEMU.
        machine.signal(Signal::SIGTERM).unwrap();
        site.crash("core-02").unwrap();
        assert!(!machine.alive() && !qemu.alive());
    }
}
