//! Power operations on a site's nodes: on, shutdown, power cut, reboot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processor_use::{Interval, ProcessorUse};
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
        self.power_on_node(name, true)?;
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

    /// Powers a stopped node on without waiting.
    pub fn power_on(&self, name: &str) -> Result<(), SiteError> {
        self.power_on_node(name, true)
    }

    /// Cuts the power of a node; does nothing to a stopped one.
    pub fn crash(&self, name: &str) -> Result<(), SiteError> {
        let node = self.node(name)?;
        if let Some(process) = node.process {
            self.backend
                .power_off(&node, process)
                .map_err(|source| SiteError::Backend { node: name.to_owned(), source })?;
        }
        self.change(name, |node| node.process = None)?;
        Ok(())
    }

    /// Copies the disk and the firmware variables of a running node to a new folder, in the state that a power
    /// failure would leave. The process is frozen during the copy; writes that it has not issued yet are not in the
    /// copy.
    pub fn snapshot_disk(&self, name: &str, folder: &Path) -> Result<(), SiteError> {
        let node = self.node(name)?;
        let process = node.process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        std::fs::create_dir(folder).map_err(|source| SiteError::Write { path: folder.to_owned(), source })?;
        let frozen = self.backend.machine_process(&node, process).freeze()?;
        for file in self.layout.node(name).persistent_files() {
            let copy = copy_path(folder, &file);
            std::fs::copy(&file, &copy).map_err(|source| SiteError::Write { path: copy, source })?;
        }
        drop(frozen);
        Ok(())
    }

    /// Cuts the power of a node and moves the files of [`Site::snapshot_disk`] into place.
    pub fn replace_disk(&self, name: &str, folder: &Path) -> Result<(), SiteError> {
        self.crash(name)?;
        for file in self.layout.node(name).persistent_files() {
            std::fs::rename(copy_path(folder, &file), &file)
                .map_err(|source| SiteError::Write { path: file, source })?;
        }
        std::fs::remove_dir(folder).map_err(|source| SiteError::Write { path: folder.to_owned(), source })
    }

    /// Reboots a node, by a reset if it does not respond, and waits until it is ready.
    pub fn reboot(&self, name: &str, limit: Limit, watch: Watcher<'_>) -> Result<Ready, SiteError> {
        let node = self.node(name)?;
        let process = node.process.filter(|process| process.alive());
        let process = process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        let before = ready::mark(&self.layout.node(name).ready());
        watch(self.booting(name));
        let requested = ssh::run(
            &self.layout,
            &node,
            ssh::Connection::Own,
            "sudo systemctl reboot --no-block",
            b"",
            limits::COMMAND,
        );
        if !requested.is_ok_and(|output| output.code == 0) {
            self.backend
                .reset(&node, process)
                .map_err(|source| SiteError::Backend { node: name.to_owned(), source })?;
        }
        self.wait_ready(name, &before, limit)
    }

    /// Shuts all nodes down, and cuts the power of those that do not in time; returns their names. Keeps their disks.
    pub fn down(&self) -> Result<Vec<String>, SiteError> {
        let nodes: Vec<Node> = self.cluster().nodes;
        let done: Vec<Result<bool, SiteError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.stop(node))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(SiteError::Interrupted))).collect()
        });
        let shut_down = done.into_iter().collect::<Result<Vec<bool>, _>>()?;
        self.stop_helpers()?;
        let nodes = nodes.into_iter().zip(shut_down);
        Ok(nodes.filter(|(_, shut_down)| !shut_down).map(|(node, _)| node.name).collect())
    }

    /// Shuts one node down, or cuts its power if it does not in time; returns whether it shut down, or was off.
    pub fn stop(&self, node: &Node) -> Result<bool, SiteError> {
        let running = node.process.filter(|process| process.alive());
        if let Some(process) = running
            && self.backend.shut_down(node, process).is_ok()
            && self.has_shut_down(node, process)
        {
            self.change(&node.name, |node| node.process = None)?;
            return Ok(true);
        }
        self.crash(&node.name)?;
        Ok(running.is_none())
    }

    /// Waits for the end of a node's process. Time in which the host has no processor for the machine does not count.
    fn has_shut_down(&self, node: &Node, process: Process) -> bool {
        let limit = if self.is_emulated() { limits::SHUTDOWN_EMULATED } else { limits::SHUTDOWN };
        let mut processor = ProcessorUse::from_now(self.backend.machine_process(node, process));
        let mut waited = Duration::ZERO;
        while waited < limit {
            if process.wait(limits::CPU_SAMPLE_INTERVAL) {
                return true;
            }
            let interval = processor.sample();
            waited += interval.map_or(limits::CPU_SAMPLE_INTERVAL, Interval::undelayed);
        }
        false
    }

    /// Removes the cluster and all its files.
    pub fn destroy(self) -> Result<(), SiteError> {
        for node in self.cluster().nodes {
            self.crash(&node.name)?;
        }
        self.stop_helpers()?;
        let path = self.layout.root().to_path_buf();
        std::fs::remove_dir_all(&path).map_err(|source| SiteError::Write { path, source })
    }
}

fn copy_path(folder: &Path, file: &Path) -> PathBuf {
    folder.join(file.file_name().unwrap_or_default())
}
