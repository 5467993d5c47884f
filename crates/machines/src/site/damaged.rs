//! Removes a cluster whose state file can not be read: its processes are found by their command lines.
//!
//! It must never end a process that only looks at the cluster's files, such as a pager on a console's log.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Background, SiteError};
use crate::process::Process;
use crate::store::{Layout, Lock};
use crate::{limits, nspawn};

/// What a background process of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Of a container: ends by itself, and tidies up, once its guest has ended.
    Keeper,
    Machine,
    /// The LAN, or what is served to the machines.
    Lan,
}

/// Ends the background processes of the cluster and removes all its files.
pub fn destroy_damaged(layout: &Layout, _lock: Lock, background: &Background) -> Result<(), SiteError> {
    let path = layout.root().to_path_buf();
    let failed = |source| SiteError::Write { path: path.clone(), source };
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        nspawn::end_guest(&entry.map_err(failed)?.path()).map_err(failed)?;
    }
    for (role, process) in processes(&path, background) {
        if role != Role::Keeper || !process.wait(limits::KILL) {
            process.kill()?;
        }
    }
    std::fs::remove_dir_all(&path).map_err(failed)
}

fn processes(root: &Path, background: &Background) -> Vec<(Role, Process)> {
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|pid| {
            let process = Process::of(pid)?;
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&OsStr> = line
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty())
                .map(OsStr::from_bytes)
                .collect();
            Some((role(&words, root, background)?, process))
        })
        .collect()
}

/// What a command line is of the cluster in `root`, if it is of that one.
fn role(words: &[&OsStr], root: &Path, background: &Background) -> Option<Role> {
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
    let serves = background.discovery.iter().map(OsStr::new);
    if let Some((_, [folder, _port])) =
        rest.split_last_chunk().filter(|(task, _)| task.iter().copied().eq(serves))
    {
        return Path::new(folder).starts_with(root).then_some(Role::Lan);
    }
    let (file, task) = rest.split_last()?;
    if !Path::new(file).starts_with(root) {
        return None;
    }
    let is = |wanted: &[String]| task.iter().copied().eq(wanted.iter().map(OsStr::new));
    [(Role::Lan, &background.lan), (Role::Keeper, &background.keeper)]
        .into_iter()
        .find_map(|(role, wanted)| is(wanted).then_some(role))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    fn background() -> Background {
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
            let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
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
        check("less /s/a,b/core-01/console.log", None);
        check("keelson destroy", None);
        check("", None);
    }

    #[test]
    fn a_cluster_with_a_damaged_state_goes_with_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a").unwrap();
        let lock = layout.lock("destroy", &AtomicBool::new(false), &mut |_| ()).unwrap();
        std::fs::write(layout.state(), "{").unwrap();
        let lan = layout.lan();
        std::fs::create_dir(&lan).unwrap();
        // A process with the command line of the LAN's switch: bash names itself as it is told.
        let mut switch = Command::new("bash");
        switch.args(["-c", "while :; do sleep 1; done", "internal", "lan"]).arg(&lan);
        let process = Process::spawn(switch, &folder.path().join("log")).unwrap();
        let words = ["-c", "while :; do sleep 1; done", "internal", "lan"].map(str::to_owned).to_vec();
        destroy_damaged(&layout, lock, &Background { lan: words, ..background() }).unwrap();
        assert!(process.wait(Duration::ZERO));
        assert!(!layout.root().exists());
    }
}
