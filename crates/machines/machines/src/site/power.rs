//! The power switches of a site's nodes: on, off in order, off at once, again.

use std::path::{Path, PathBuf};

use super::{Event, Site, SiteError, Watcher};
use crate::cluster::Node;
use crate::process::Process;
use crate::ready::{self, Limit, Mark, Ready};
use crate::{limits, ssh};

impl Site {
    /// Boots a stopped node and waits until it is ready.
    pub fn start(&self, name: &str, limit: Limit, watch: Watcher<'_>) -> Result<Ready, SiteError> {
        if self.node(name)?.process.is_some_and(Process::alive) {
            return Err(SiteError::Running(name.to_owned()));
        }
        self.switch_on(name, true)?;
        watch(self.booting(name));
        let done = self.wait_ready(name, &Mark::default(), limit);
        if matches!(done, Err(SiteError::Interrupted)) {
            self.crash(name)?;
        }
        done
    }

    pub(super) fn booting(&self, name: &str) -> Event {
        let files = self.layout.node(name);
        let (console, ready) = (files.console_log(), files.ready());
        Event::Booting { node: name.to_owned(), console, ready, started: true }
    }

    /// Switches a stopped node on and comes back at once.
    pub fn power_on(&self, name: &str) -> Result<(), SiteError> {
        self.switch_on(name, true)
    }

    /// Pulls the plug of a node; one that is stopped stays so.
    pub fn crash(&self, name: &str) -> Result<(), SiteError> {
        let node = self.node(name)?;
        if let Some(process) = node.process {
            self.backend
                .cut(&node, process)
                .map_err(|source| SiteError::Backend { node: name.to_owned(), source })?;
        }
        self.change(name, |node| node.process = None)?;
        Ok(())
    }

    /// Copies the disk and the firmware's variables of a running node to a new folder, as a power cut at this moment
    /// would leave them. Its process is stopped during the copy; writes that it has not made to the files are lost.
    pub fn copy_disk_as_cut(&self, name: &str, folder: &Path) -> Result<(), SiteError> {
        let process = self.node(name)?.process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        std::fs::create_dir(folder).map_err(|source| SiteError::Write { path: folder.to_owned(), source })?;
        let frozen = process.freeze()?;
        for file in self.layout.node(name).cut_survives() {
            let copy = copied(folder, &file);
            std::fs::copy(&file, &copy).map_err(|source| SiteError::Write { path: copy, source })?;
        }
        drop(frozen);
        Ok(())
    }

    /// Pulls the plug of a node, and moves to it what [`Site::copy_disk_as_cut`] copied.
    pub fn replace_disk(&self, name: &str, folder: &Path) -> Result<(), SiteError> {
        self.crash(name)?;
        for file in self.layout.node(name).cut_survives() {
            std::fs::rename(copied(folder, &file), &file)
                .map_err(|source| SiteError::Write { path: file, source })?;
        }
        std::fs::remove_dir(folder).map_err(|source| SiteError::Write { path: folder.to_owned(), source })
    }

    /// Reboots a node in order, by its reset button where it does not answer, and waits until it is ready.
    pub fn reboot(&self, name: &str, limit: Limit, watch: Watcher<'_>) -> Result<Ready, SiteError> {
        let node = self.node(name)?;
        let process = node.process.filter(|process| process.alive());
        let process = process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        let before = ready::mark(&self.layout.node(name).ready());
        watch(self.booting(name));
        let asked = ssh::run(
            &self.layout,
            &node,
            ssh::Connection::Own,
            "sudo systemctl reboot --no-block",
            b"",
            limits::COMMAND,
        );
        if !asked.is_ok_and(|output| output.code == 0) {
            self.backend
                .reset(&node, process)
                .map_err(|source| SiteError::Backend { node: name.to_owned(), source })?;
        }
        self.wait_ready(name, &before, limit)
    }

    /// Stops all nodes in order, or by force where they do not end in time; keeps their disks.
    pub fn down(&self) -> Result<(), SiteError> {
        let nodes: Vec<Node> = self.cluster().nodes;
        let done: Vec<Result<(), SiteError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.stop(node))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(SiteError::Interrupted))).collect()
        });
        done.into_iter().collect::<Result<(), _>>()?;
        self.stop_helpers()
    }

    /// Stops one node in order; by force where it does not end in time.
    pub fn stop(&self, node: &Node) -> Result<(), SiteError> {
        if let Some(process) = node.process.filter(|process| process.alive()) {
            // A system that cannot be asked any more is cut below.
            if self.backend.shut_down(node, process).is_ok() && process.wait(limits::SHUTDOWN) {
                self.change(&node.name, |node| node.process = None)?;
                return Ok(());
            }
        }
        self.crash(&node.name)
    }

    /// Removes the cluster with all its files.
    pub fn destroy(self) -> Result<(), SiteError> {
        for node in self.cluster().nodes {
            self.crash(&node.name)?;
        }
        self.stop_helpers()?;
        let path = self.layout.root().to_path_buf();
        std::fs::remove_dir_all(&path).map_err(|source| SiteError::Write { path, source })
    }
}

fn copied(folder: &Path, file: &Path) -> PathBuf {
    folder.join(file.file_name().unwrap_or_default())
}
