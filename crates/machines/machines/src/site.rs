//! A cluster in operation: its locked folder, its state and its back end.
//!
//! Every change is written to the state file before the next one starts, so that after a kill the next keelson finds
//! all processes. A process that was not recorded yet is found by its command line (`process_scan`).

mod boot;
mod boot_progress;
mod certificates;
mod damaged;
mod discovery;
mod error;
mod power;
mod process_scan;
mod processor_use;
mod provision;
mod served_certificates;
mod stalls;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{Backend, DiskFault, free_port};
use crate::cluster::{BackendKind, BootSource, Cluster, ClusterSpec, ClusterSpecError, Node, NodeStatus};
use crate::credential;
use crate::image::Image;
use crate::lan::{self, PortCommand};
use crate::lan_host::LanHost;
use crate::nspawn::Nspawn;
use crate::process::Process;
use crate::processor::Acceleration;
use crate::qemu::Qemu;
use crate::spec_change::SpecChange;
use crate::status;
use crate::store::{Layout, Lock, StoreError, replace};

use crate::background::SupervisorCommand;

pub use crate::background::Background;
pub use certificates::Rotate;
pub use damaged::destroy_damaged;
pub use error::{NotReady, SiteError};
pub use process_scan::adopt;

/// Progress of booting nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The node is being waited for; `started` unless it was already running.
    Booting {
        node: String,
        console: PathBuf,
        ready: PathBuf,
        started: bool,
    },
    Ready {
        node: String,
        after: Duration,
    },
}

/// MAC address of a host on the LAN that is no node: the last byte is below those of all nodes.
const LAN_HOST_MAC: &str = "52:54:00:00:00:01";

pub type Watcher<'a> = &'a (dyn Fn(Event) + Sync);

pub struct Site {
    layout: Layout,
    cluster: Mutex<Cluster>,
    backend: Box<dyn Backend>,
    background: Background,
    cancel: Arc<AtomicBool>,
    ignored: Vec<String>,
    /// When any awaited node last made progress.
    progressed_at: Mutex<Instant>,
    _lock: Lock,
}

impl Site {
    /// Opens the existing cluster in `layout`.
    pub fn open(
        layout: Layout,
        lock: Lock,
        background: Background,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SiteError> {
        let cluster = layout.load()?.ok_or_else(|| SiteError::no_cluster(&layout))?;
        Self::with(layout, lock, cluster, background, cancel)
    }

    /// Opens the cluster in `layout` and grows it to `spec`; creates it if it does not exist.
    pub fn create(
        layout: Layout,
        lock: Lock,
        image: Image,
        spec: &ClusterSpec,
        spec_change: &SpecChange,
        background: Background,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SiteError> {
        spec.check()?;
        let name = layout.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut cluster = match layout.load()? {
            Some(cluster) if cluster.backend != spec.backend => {
                return Err(
                    ClusterSpecError::Backend { name, has: cluster.backend, wanted: spec.backend }.into()
                );
            }
            Some(mut cluster) => {
                adopt(&layout, &mut cluster, &background);
                cluster.image = image;
                cluster
            }
            None => Cluster::new(&name, spec, image),
        };
        let ignored = cluster.apply_change(spec_change);
        cluster.grow(spec);
        let mut site = Self::with(layout, lock, cluster, background, cancel)?;
        site.ignored = ignored;
        // Fails before saving an image whose machines cannot start on this host.
        site.acceleration()?;
        site.layout.save(&site.state())?;
        Ok(site)
    }

    fn with(
        layout: Layout,
        lock: Lock,
        mut cluster: Cluster,
        background: Background,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SiteError> {
        // Records processes that a killed keelson started but did not write to the state file.
        if adopt(&layout, &mut cluster, &background) {
            layout.save(&cluster)?;
        }
        for process in process_scan::unknown_discovery(&layout, &cluster, &background) {
            process.kill()?;
        }
        let supervisor = |arguments: &[String]| SupervisorCommand {
            program: background.program.clone(),
            arguments: arguments.to_vec(),
        };
        let backend: Box<dyn Backend> = match cluster.backend {
            BackendKind::Qemu => Box::new(Qemu::new(layout.clone(), &cluster, supervisor(&background.qemu))),
            BackendKind::Nspawn => Box::new(Nspawn::new(layout.clone(), supervisor(&background.supervisor))?),
        };
        let cluster = Mutex::new(cluster);
        let (ignored, progressed_at) = (Vec::new(), Mutex::new(Instant::now()));
        Ok(Self { layout, cluster, backend, background, cancel, ignored, progressed_at, _lock: lock })
    }

    /// Requested settings that could not be applied, each with a remedy.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether machines run on KVM or are emulated; `None` for containers.
    pub fn acceleration(&self) -> Result<Option<Acceleration>, SiteError> {
        Ok(self.backend.acceleration()?)
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether machines run without KVM. Containers are never emulated.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        // If this is unknown, there is no machine to reset.
        self.acceleration().is_ok_and(|found| matches!(found, Some(Acceleration::Tcg { .. })))
    }

    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn node(&self, name: &str) -> Result<Node, SiteError> {
        let state = self.state();
        let has = || state.nodes.iter().map(|node| node.name.clone()).collect();
        state.node(name).cloned().ok_or_else(|| SiteError::NoNode { name: name.to_owned(), has: has() })
    }

    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        status::of(&self.layout, &self.state())
    }

    /// Processor time of a running node since its start, as the host counts it; `None` if the node does not run.
    pub fn processor_time(&self, name: &str) -> Result<Option<Duration>, SiteError> {
        let node = self.node(name)?;
        let process = node.process.map(|process| self.backend.machine_process(&node, process));
        Ok(process.and_then(Process::processor_time))
    }

    /// Changes one node's state and saves it.
    fn change(&self, name: &str, change: impl FnOnce(&mut Node)) -> Result<Node, SiteError> {
        let mut state = self.state();
        let Some(node) = state.node_mut(name) else {
            return Err(SiteError::NoNode { name: name.to_owned(), has: Vec::new() });
        };
        change(node);
        let node = node.clone();
        self.layout.save(&state)?;
        Ok(node)
    }

    /// Makes a port of the host's loopback reachable for nodes at [`HOST_NAME`], from each node's next start.
    ///
    /// [`HOST_NAME`]: crate::cluster::HOST_NAME
    pub fn expose_host_port(&self, port: u16) -> Result<(), SiteError> {
        let mut state = self.state();
        if !state.services.contains(&port) {
            state.services.push(port);
            self.layout.save(&state)?;
        }
        Ok(())
    }

    /// Sets the nodes' update server, from each node's next start. `url` ends in `/v1/update/`; `registration` is the
    /// server's token. Containers do not update, and do not get it.
    pub fn set_update_server(&self, url: &str, registration: Option<&str>) -> Result<(), SiteError> {
        let path = self.layout.registration();
        let written = match registration {
            Some(token) => replace(&path, credential::smbios(credential::REGISTRATION, token).as_bytes()),
            // Nobody needs the former server's.
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        };
        written.map_err(|source| StoreError::Write { path, source })?;
        let mut state = self.state();
        state.update_server = Some(url.to_owned());
        state.registration = registration.is_some();
        Ok(self.layout.save(&state)?)
    }

    /// Sets the raw image for the disks of nodes that are created from now on.
    pub fn replace_image(&self, raw: &std::path::Path) -> Result<(), SiteError> {
        let mut state = self.state();
        state.image.raw = raw.to_path_buf();
        Ok(self.layout.save(&state)?)
    }

    /// Sets what QEMU nodes boot, from each node's next start.
    pub fn set_boot_source(&self, source: BootSource) -> Result<(), SiteError> {
        let mut state = self.state();
        state.boot_source = source;
        Ok(self.layout.save(&state)?)
    }

    /// Kernel arguments that the machines' processor needs; the harness adds them to those of a disk.
    pub fn kernel_arguments(&self) -> Option<&'static str> {
        self.acceleration().ok().flatten()?.kernel_arguments()
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), SiteError> {
        if self.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            Err(SiteError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Powers a stopped node on without waiting for it. `fresh` rewrites its config drive.
    fn power_on_node(&self, name: &str, fresh: bool) -> Result<(), SiteError> {
        self.ensure_lan()?;
        self.ensure_discovery()?;
        lan::send_command(&self.layout.lan(), &PortCommand::Add(name.to_owned()))?;
        let preferred = self.node(name)?.ssh_port;
        let port = free_port(preferred).map_err(SiteError::Port)?;
        let raw = self.state().image.raw.clone();
        let node = self.change(name, |node| {
            node.ssh_port = port;
            node.process = None;
            node.made_from.get_or_insert(raw);
        })?;
        let failed = |source| SiteError::Backend { node: name.to_owned(), source };
        let cluster = self.cluster();
        if cluster.tls {
            crate::certificates::ensure(&self.layout, &cluster, &node)?;
        }
        if fresh || !self.layout.node(name).config_folder().exists() {
            self.backend.prepare(&cluster, &node, &self.drive(&node)?).map_err(failed)?;
        }
        let process = self.backend.start(&cluster, &node).map_err(failed)?;
        self.change(name, |node| node.process = Some(process))?;
        Ok(())
    }

    /// Connects a further host to the LAN, with addresses and their prefix lengths. `name` is that of its port on the
    /// switch. Needs root.
    pub fn join_lan(&self, name: &str, addresses: &[(Ipv4Addr, u8)]) -> Result<LanHost, SiteError> {
        self.ensure_lan()?;
        lan::send_command(&self.layout.lan(), &PortCommand::Add(name.to_owned()))?;
        let socket = lan::socket(&self.layout.lan(), name);
        LanHost::join(socket, LAN_HOST_MAC, addresses)
            .map_err(|source| SiteError::LanHost { name: name.to_owned(), source })
    }

    fn ensure_lan(&self) -> Result<(), SiteError> {
        let mut state = self.state();
        if state.lan.is_some_and(Process::alive) {
            return Ok(());
        }
        let mut command = Command::new(&self.background.program);
        command.args(&self.background.lan);
        state.lan = Some(lan::start(command, &self.layout.lan())?);
        for node in &state.nodes {
            lan::send_command(&self.layout.lan(), &PortCommand::Add(node.name.clone()))?;
        }
        Ok(self.layout.save(&state)?)
    }

    /// Stops the LAN switch and the discovery service.
    fn stop_helpers(&self) -> Result<(), SiteError> {
        let mut state = self.state();
        let service = state.discovery.as_mut().and_then(|service| service.process.take());
        for process in state.lan.take().into_iter().chain(service) {
            process.kill()?;
        }
        Ok(self.layout.save(&state)?)
    }

    /// Injects a disk fault into a running node, or clears it.
    pub fn set_disk_fault(&self, name: &str, fault: DiskFault) -> Result<(), SiteError> {
        let node = self.node(name)?;
        self.backend
            .set_disk_fault(&node, fault)
            .map_err(|source| SiteError::Backend { node: name.to_owned(), source })
    }

    /// Disconnects a node from the LAN, or reconnects it.
    pub fn partition(&self, name: &str, cut: bool) -> Result<(), SiteError> {
        self.node(name)?;
        let command =
            if cut { PortCommand::Isolate(name.to_owned()) } else { PortCommand::Heal(name.to_owned()) };
        Ok(lan::send_command(&self.layout.lan(), &command)?)
    }
}

#[cfg(test)]
#[path = "site/tests.rs"]
mod tests;
