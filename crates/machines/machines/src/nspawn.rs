//! Nodes as systemd-nspawn containers: the same `/usr`, booted by its own systemd in seconds, without
//! firmware, kernel and disk of its own. Needs root, for mounts and network namespaces.
//!
//! Each node has one background process, its keeper (`keeper`): what it mounts and makes is in its own
//! namespaces and goes with it, so that a crash leaves nothing behind on the host.

mod doors;
mod group;
mod inotify;
mod inside;
pub mod keeper;
mod plan;
mod tap;
mod warden;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::backend::{Backend, BackendError, DiskFault, check_ports, check_space};
use crate::certificates;
use crate::cluster::{Cluster, Forward, Node};
use crate::config_drive::Drive;
use crate::credential;
use crate::image::Image;
use crate::lan;
use crate::limits;
use crate::process::{Process, last_line};
use crate::processor::Acceleration;
use crate::store::{Layout, replace};
use crate::tools::Tools;
use plan::{Guest, NodePlan};

/// What a node's keeper tells, in the node's folder.
const GUEST: &str = "guest.json";

/// The program and first arguments that run [`keeper::run`], its folder's file being appended.
#[derive(Debug, Clone)]
pub struct KeeperCommand {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

#[derive(Debug)]
pub struct Nspawn {
    layout: Layout,
    command: KeeperCommand,
}

impl Nspawn {
    pub fn new(layout: Layout, command: KeeperCommand) -> Result<Self, BackendError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(BackendError::Root);
        }
        Ok(Self { layout, command })
    }

    fn keeper(&self, cluster: &Cluster, node: &Node) -> NodePlan {
        let files = self.layout.node(&node.name);
        let ssh = Forward { host: node.ssh_port, guest: 22 };
        NodePlan {
            machine: format!("{}-{}-{}", self.layout.mark(), cluster.name, node.name),
            host_name: format!("{}-{}", cluster.name, node.name),
            group: group::name(&self.layout, &node.name),
            uuid: node.uuid.clone(),
            mac: node.mac.clone(),
            address: node.address,
            tree: files.tree(),
            etc: files.root().join("etc"),
            usr_erofs: cluster.image.usr_erofs.clone(),
            usr_tree: cluster.image.usr_tree.clone(),
            tools: cluster.image.tools.clone(),
            config_drive: files.config_folder(),
            host: files.host(),
            lan_socket: lan::socket(&self.layout.lan(), &node.name),
            console_log: files.console_log(),
            console_socket: files.console_socket(),
            guest: files.root().join(GUEST),
            forwards: [ssh].into_iter().chain(node.forwards.iter().copied()).collect(),
            credentials: credential::all(cluster, node),
            secrets: certificates::CREDENTIALS
                .iter()
                .filter(|_| cluster.tls)
                .map(|(name, _)| ((*name).to_owned(), certificates::file(files.root(), name)))
                .collect(),
            services: cluster.services.clone(),
            shared: cluster.shared.clone(),
        }
    }

    fn guest(&self, node: &Node) -> Option<Guest> {
        Guest::read(&self.layout.node(&node.name).root().join(GUEST))
    }
}

/// Ends the guest that runs on the files of a node's `folder`, if one does. Its keeper tidies up and ends too.
pub fn end_guest(folder: &Path) -> std::io::Result<()> {
    Guest::read(&folder.join(GUEST)).map_or(Ok(()), Guest::kill)
}

/// Removes what keepers of a cluster that were killed left on the host.
pub fn clear(layout: &Layout) -> std::io::Result<()> {
    group::clear_all(layout)
}

/// Refuses to start a node on what is gone, before a background process could only say so in its log.
fn check_image(image: &Image) -> Result<(), BackendError> {
    if !image.usr_erofs.exists() && !image.usr_tree.exists() {
        return Err(BackendError::Usr(image.usr_erofs.clone()));
    }
    Tools::open(&image.tools, &[])?;
    Ok(())
}

impl Backend for Nspawn {
    fn acceleration(&self) -> Result<Option<Acceleration>, BackendError> {
        Ok(None)
    }

    fn prepare(&self, _cluster: &Cluster, node: &Node, drive: &Drive) -> Result<(), BackendError> {
        let files = self.layout.node(&node.name);
        check_space(files.root())?;
        for folder in [files.host(), files.tree(), files.root().join("etc")] {
            std::fs::create_dir_all(&folder).map_err(|source| BackendError::Make { path: folder, source })?;
        }
        Ok(drive.write_folder(&files.config_folder())?)
    }

    fn renew(&self, node: &Node, drive: &Drive) -> Result<(), BackendError> {
        Ok(drive.write_folder(&self.layout.node(&node.name).config_folder())?)
    }

    fn start(&self, cluster: &Cluster, node: &Node) -> Result<Process, BackendError> {
        check_ports(node)?;
        check_image(&cluster.image)?;
        // A host that refuses runs a few nodes all the same.
        if let Err(error) = inotify::raise(Path::new(inotify::LIMIT)) {
            eprintln!("warning: {} stays as it is, enough for ten nodes: {error}", inotify::LIMIT);
        }
        let files = self.layout.node(&node.name);
        let keeper = self.keeper(cluster, node);
        let made = |path: PathBuf| move |source| BackendError::Make { path, source };
        let text = serde_json::to_vec_pretty(&keeper)
            .map_err(|error| made(files.keeper())(std::io::Error::from(error)))?;
        replace(&files.keeper(), &text).map_err(made(files.keeper()))?;
        match std::fs::remove_file(&keeper.guest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(made(keeper.guest.clone())(error));
            }
            _ => {}
        }
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments).arg(files.keeper());
        let process = Process::spawn(command, &files.process_log())?;
        let deadline = Instant::now() + limits::BACKGROUND_START;
        while self.guest(node).is_none() {
            if !process.alive() || Instant::now() > deadline {
                process.kill()?;
                let log = files.process_log();
                return Err(BackendError::Ended { program: "systemd-nspawn", said: last_line(&log), log });
            }
            // The keeper writes the file when nspawn runs; it is a matter of milliseconds.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    fn shut_down(&self, node: &Node, process: Process) -> Result<(), BackendError> {
        // nspawn passes SIGTERM on to its init as an order to power off.
        Ok(self.guest(node).map_or(process, |guest| guest.nspawn).signal(Signal::SIGTERM)?)
    }

    fn reset(&self, node: &Node, _process: Process) -> Result<(), BackendError> {
        self.guest(node)
            .map_or(Ok(()), |guest| guest.reset())
            .map_err(|source| BackendError::Run("kill", source))
    }

    fn cut(&self, node: &Node, process: Process) -> Result<(), BackendError> {
        if let Some(guest) = self.guest(node) {
            // Killing the first process of the guest ends all of it at once; nspawn then tidies up.
            guest.kill().map_err(|source| BackendError::Run("kill", source))?;
        }
        if !process.wait(limits::KILL) {
            process.kill()?;
        }
        group::clear(&self.layout, &node.name).map_err(|source| BackendError::Group { source })
    }

    fn disk(&self, _node: &Node, _fault: DiskFault) -> Result<(), BackendError> {
        Err(BackendError::NoDisk)
    }

    fn remark(&self, node: &Node) -> Option<String> {
        let log = self.layout.node(&node.name).process_log();
        crate::console::tail(&log, 1).pop().map(|line| format!("systemd-nspawn said: {line}"))
    }

    fn processors(&self, _node: &Node) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::image;

    #[test]
    fn a_node_is_not_started_on_a_usr_that_newer_builds_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let image = Image { usr_erofs: at("usr.erofs"), usr_tree: at("usr"), tools: at("tools"), ..image() };
        let error = check_image(&image).unwrap_err().to_string();
        assert!(error.contains("usr.erofs, the /usr that it is to run, is gone"), "{error}");
        for folder in ["usr", "tools/usr/bin"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        check_image(&image).unwrap();
    }
}
