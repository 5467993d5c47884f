//! Nodes as systemd-nspawn containers: the same `/usr`, booted by its own systemd in seconds, without firmware,
//! kernel or disk. Needs root for mounts and network namespaces.
//!
//! Each node has a background process, its supervisor (`supervisor`). Mounts and interfaces exist in the supervisor's
//! namespaces only, so that a crash leaves nothing behind on the host.

mod control_group;
mod inotify;
mod mounts;
mod notifications;
mod pid_namespace;
mod plan;
mod root_mounts;
pub mod supervisor;
mod user_namespace;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::backend::{Backend, BackendError, DiskFault, check_ports, check_space};
use crate::background::SupervisorCommand;
use crate::certificates;
use crate::cluster::{Cluster, Forward, Node};
use crate::config_drive::Drive;
use crate::console;
use crate::credential;
use crate::guest::Guest;
use crate::image::Image;
use crate::lan;
use crate::limits;
use crate::process::{Process, last_line};
use crate::processor::Acceleration;
use crate::store::{GUEST, Layout, replace};
use crate::tools::Tools;
use plan::NodePlan;
use user_namespace::IdRange;

#[derive(Debug)]
pub struct Nspawn {
    layout: Layout,
    command: SupervisorCommand,
}

impl Nspawn {
    pub fn new(layout: Layout, command: SupervisorCommand) -> Result<Self, BackendError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(BackendError::Root);
        }
        Ok(Self { layout, command })
    }

    fn node_plan(&self, cluster: &Cluster, node: &Node) -> NodePlan {
        let files = self.layout.node(&node.name);
        let ssh = Forward { host: node.ssh_port, guest: 22 };
        NodePlan {
            node: node.name.clone(),
            machine: format!("{}-{}-{}", self.layout.hash_prefix(), cluster.name, node.name),
            host_name: format!("{}-{}", cluster.name, node.name),
            group: control_group::name(&self.layout, &node.name),
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
            guest: files.guest(),
            forwards: [ssh].into_iter().chain(node.forwards.iter().copied()).collect(),
            credentials: credential::all(cluster, node),
            secrets: certificates::CREDENTIALS
                .iter()
                .filter(|_| cluster.tls)
                .map(|(name, _)| ((*name).to_owned(), certificates::file(files.root(), name)))
                .collect(),
            services: cluster.offered_ports(),
            shared: cluster.shared.clone(),
            outbound: cluster.outbound,
            user_namespace: None,
        }
    }

    /// Host IDs of a node that can have a user namespace; warns if it cannot.
    fn user_namespace(plan: &NodePlan, node: &Node) -> Option<IdRange> {
        let range = IdRange::of(&plan.machine);
        let usr = Some(plan.usr_tree.as_path()).filter(|tree| tree.exists());
        let folders = [plan.folder()].into_iter().chain(usr);
        let supported = mounts::probe(range, folders.chain(plan.shared.iter().map(|folder| &*folder.host)));
        supported.map(|()| range).inspect_err(|reason| {
            eprintln!(
                "warning: root in {} is root on this host, because it has no user namespace: {reason}; use nspawn for \
                 software that you trust, otherwise --on qemu",
                node.name
            );
        }).ok()
    }

    fn guest(&self, node: &Node) -> Option<Guest> {
        Guest::read(&self.layout.node(&node.name).guest())
    }
}

/// Kills the guest that runs on a node's `folder`, if any. Its supervisor then cleans up and exits.
pub fn end_guest(folder: &Path) -> std::io::Result<()> {
    Guest::read(&folder.join(GUEST)).map_or(Ok(()), |guest| plan::kill(guest.process))
}

/// Removes what killed supervisors of a cluster left on the host.
pub fn clear(layout: &Layout) -> std::io::Result<()> {
    control_group::clear_all(layout)
}

/// Fails early if the image was removed; the background process could only log it.
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

    fn update_drive(&self, node: &Node, drive: &Drive) -> Result<(), BackendError> {
        Ok(drive.write_folder(&self.layout.node(&node.name).config_folder())?)
    }

    fn start(&self, cluster: &Cluster, node: &Node) -> Result<Process, BackendError> {
        check_ports(node)?;
        check_image(&cluster.image)?;
        // Without a higher limit the host still runs a few nodes.
        if let Err(error) = inotify::raise(Path::new(inotify::LIMIT)) {
            eprintln!("warning: cannot raise {}, which suffices for ten nodes: {error}", inotify::LIMIT);
        }
        let files = self.layout.node(&node.name);
        let mut node_plan = self.node_plan(cluster, node);
        node_plan.user_namespace = Self::user_namespace(&node_plan, node);
        if node_plan.user_namespace.is_some() {
            node_plan.credentials.push(user_namespace::sysctl());
        }
        let made = |path: PathBuf| move |source| BackendError::Make { path, source };
        let text = serde_json::to_vec_pretty(&node_plan)
            .map_err(|error| made(files.node_plan())(std::io::Error::from(error)))?;
        replace(&files.node_plan(), &text).map_err(made(files.node_plan()))?;
        match std::fs::remove_file(&node_plan.guest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(made(node_plan.guest.clone())(error));
            }
            _ => {}
        }
        let process = Process::spawn(self.command.of(&files.node_plan()), &files.process_log())?;
        let deadline = Instant::now() + limits::NSPAWN_START;
        let guest = loop {
            if let Some(guest) = self.guest(node) {
                break guest;
            }
            if !process.alive() || Instant::now() > deadline {
                process.kill()?;
                // systemd-nspawn reports its own errors on the console.
                let mut log = files.process_log();
                if console::tail(&log, 1).is_empty() {
                    log = files.console_log();
                }
                return Err(BackendError::Ended { program: "systemd-nspawn", message: last_line(&log), log });
            }
            // The supervisor writes the file when the node's network exists; it takes tens of milliseconds.
            std::thread::sleep(Duration::from_millis(5));
        };
        guest.warn();
        Ok(process)
    }

    fn shut_down(&self, node: &Node, process: Process) -> Result<(), BackendError> {
        // On SIGTERM nspawn orders its init to power off.
        Ok(self.guest(node).map_or(process, |guest| guest.process).signal(Signal::SIGTERM)?)
    }

    fn reset(&self, node: &Node, _process: Process) -> Result<(), BackendError> {
        self.guest(node)
            .map_or(Ok(()), |guest| plan::reset(guest.process))
            .map_err(|source| BackendError::Run("kill", source))
    }

    fn power_off(&self, node: &Node, process: Process) -> Result<(), BackendError> {
        if let Some(guest) = self.guest(node) {
            // Killing the guest's init kills the whole guest; nspawn then cleans up.
            plan::kill(guest.process).map_err(|source| BackendError::Run("kill", source))?;
        }
        if !process.wait(limits::KILL) {
            process.kill()?;
        }
        control_group::clear(&self.layout, &node.name).map_err(|source| BackendError::Group { source })
    }

    fn set_disk_fault(&self, _node: &Node, _fault: DiskFault) -> Result<(), BackendError> {
        Err(BackendError::NoDisk)
    }

    fn diagnose(&self, node: &Node) -> Option<String> {
        let log = self.layout.node(&node.name).process_log();
        crate::console::tail(&log, 1).pop().map(|line| format!("systemd-nspawn: {line}"))
    }

    fn processor_registers(&self, _node: &Node) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::image;

    #[test]
    fn a_node_does_not_start_without_its_usr_image() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let image = Image { usr_erofs: at("usr.erofs"), usr_tree: at("usr"), tools: at("tools"), ..image() };
        let error = check_image(&image).unwrap_err().to_string();
        assert!(error.contains("usr.erofs, the /usr of the machine, does not exist any more"), "{error}");
        for folder in ["usr", "tools/usr/bin"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        check_image(&image).unwrap();
    }
}
