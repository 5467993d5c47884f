//! Removes a cluster whose state file is unreadable, with its processes.

use super::process_scan::{self, Role};
use super::{Background, SiteError};
use crate::store::{Layout, Lock};
use crate::{limits, nspawn};

/// Stops the background processes of the cluster and removes all its files.
pub fn destroy_damaged(layout: &Layout, _lock: Lock, background: &Background) -> Result<(), SiteError> {
    let path = layout.root().to_path_buf();
    let failed = |source| SiteError::Write { path: path.clone(), source };
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        nspawn::end_guest(&entry.map_err(failed)?.path()).map_err(failed)?;
    }
    for found in process_scan::scan() {
        let Some(role) = found.role(&path, background) else { continue };
        if role != Role::Supervisor || !found.process.wait(limits::KILL) {
            found.process.kill()?;
        }
    }
    nspawn::clear(layout).map_err(failed)?;
    std::fs::remove_dir_all(&path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::process::Process;
    use crate::site::process_scan::tests::background;

    #[test]
    fn a_damaged_cluster_is_removed_with_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), "a").unwrap();
        let lock = layout.lock("destroy", &AtomicBool::new(false), &mut |_| ()).unwrap();
        std::fs::write(layout.state(), "{").unwrap();
        let lan = layout.lan();
        std::fs::create_dir(&lan).unwrap();
        // Stands in for the LAN switch: bash runs with the switch's command line.
        let mut switch = Command::new("bash");
        switch.args(["-c", "while :; do sleep 1; done", "internal", "lan"]).arg(&lan);
        let process = Process::spawn(switch, &folder.path().join("log")).unwrap();
        let arguments = ["-c", "while :; do sleep 1; done", "internal", "lan"].map(str::to_owned).to_vec();
        destroy_damaged(&layout, lock, &Background { lan: arguments, ..background() }).unwrap();
        assert!(process.wait(Duration::ZERO));
        assert!(!layout.root().exists());
    }
}
