//! A cluster at work: its folder under its lock, its state, and the back end that runs it.
//!
//! Every change is written to the state file before the next one is begun, so that a keelson that is
//! killed leaves a state by which the next one finds all processes; what it had not written yet is found by its
//! command line (`found`).

mod boot;
mod certificates;
mod damaged;
mod discovery;
mod error;
mod found;
mod movement;
mod power;
mod provision;
mod shown;
mod stalls;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::asked::Asked;
use crate::backend::{Backend, DiskFault, free_port};
use crate::cluster::{BackendKind, Cluster, Node, NodeStatus, Wish, WishError};
use crate::image::Image;
use crate::lan::{self, Order};
use crate::nspawn::{KeeperCommand, Nspawn};
use crate::process::Process;
use crate::processor::Acceleration;
use crate::qemu::Qemu;
use crate::status;
use crate::store::{Layout, Lock};

pub use crate::background::Background;
pub use certificates::Rotate;
pub use damaged::destroy_damaged;
pub use error::{NotReady, SiteError};
pub use found::adopt;

/// What happens while nodes boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is waited for; `started` where it did not run before.
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

pub type Watcher<'a> = &'a (dyn Fn(Event) + Sync);

pub struct Site {
    layout: Layout,
    cluster: Mutex<Cluster>,
    backend: Box<dyn Backend>,
    background: Background,
    cancel: Arc<AtomicBool>,
    ignored: Vec<String>,
    /// When something last changed on a node that is waited for.
    moved: Mutex<Instant>,
    _lock: Lock,
}

impl Site {
    /// The cluster that exists in `layout`.
    pub fn open(
        layout: Layout,
        lock: Lock,
        background: Background,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SiteError> {
        let cluster = layout.load()?.ok_or_else(|| SiteError::no_cluster(&layout))?;
        Self::with(layout, lock, cluster, background, cancel)
    }

    /// The cluster in `layout` with at least the nodes that are wished; made where there is none.
    pub fn create(
        layout: Layout,
        lock: Lock,
        image: Image,
        wish: &Wish,
        asked: &Asked,
        background: Background,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, SiteError> {
        wish.check()?;
        let name = layout.root().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut cluster = match layout.load()? {
            Some(cluster) if cluster.backend != wish.backend => {
                return Err(WishError::Backend { name, has: cluster.backend, wish: wish.backend }.into());
            }
            Some(mut cluster) => {
                adopt(&layout, &mut cluster, &background);
                cluster.image = image;
                cluster
            }
            None => Cluster::new(&name, wish, image),
        };
        let ignored = cluster.ask(asked);
        cluster.grow(wish);
        let mut site = Self::with(layout, lock, cluster, background, cancel)?;
        site.ignored = ignored;
        // Nothing is written down for an image whose machines cannot be started here.
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
        // What a keelson left that was killed before it could write down what it had started.
        if adopt(&layout, &mut cluster, &background) {
            layout.save(&cluster)?;
        }
        for process in found::unknown_discovery(&layout, &cluster, &background) {
            process.kill()?;
        }
        let backend: Box<dyn Backend> = match cluster.backend {
            BackendKind::Qemu => Box::new(Qemu::new(layout.clone(), &cluster)),
            BackendKind::Nspawn => {
                let command = KeeperCommand {
                    program: background.program.clone(),
                    arguments: background.keeper.clone(),
                };
                Box::new(Nspawn::new(layout.clone(), command)?)
            }
        };
        let cluster = Mutex::new(cluster);
        let (ignored, moved) = (Vec::new(), Mutex::new(Instant::now()));
        Ok(Self { layout, cluster, backend, background, cancel, ignored, moved, _lock: lock })
    }

    /// What was asked for when this was made and could not be had, each with what to do about it.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether machines run on KVM or are emulated; nothing where they are no machines of their own.
    pub fn acceleration(&self) -> Result<Option<Acceleration>, SiteError> {
        Ok(self.backend.acceleration()?)
    }

    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether machines run without KVM; nspawn's containers are no machines of their own.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        // Who cannot tell has no machine to reset.
        self.acceleration().is_ok_and(|found| matches!(found, Some(Acceleration::Tcg { .. })))
    }

    /// A copy of the state as it is now.
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

    /// Changes one node's state and writes it.
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

    /// Lets the nodes reach a port of the host's loopback at [`HOST_NAME`], each from its next start.
    ///
    /// [`HOST_NAME`]: crate::cluster::HOST_NAME
    pub fn offer(&self, port: u16) -> Result<(), SiteError> {
        let mut state = self.state();
        if !state.services.contains(&port) {
            state.services.push(port);
            self.layout.save(&state)?;
        }
        Ok(())
    }

    /// Tells the nodes where to ask for updates, each from its next start: `url` ends in `/v1/update/`.
    pub fn use_updates(&self, url: &str) -> Result<(), SiteError> {
        let mut state = self.state();
        state.update_server = Some(url.to_owned());
        Ok(self.layout.save(&state)?)
    }

    /// Nodes that are made from now on have their disks from another raw image.
    pub fn replace_image(&self, raw: &std::path::Path) -> Result<(), SiteError> {
        let mut state = self.state();
        state.image.raw = raw.to_path_buf();
        Ok(self.layout.save(&state)?)
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), SiteError> {
        if self.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            Err(SiteError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Switches a stopped node on, without waiting for it. With `fresh` its config drive is written anew.
    fn switch_on(&self, name: &str, fresh: bool) -> Result<(), SiteError> {
        self.ensure_lan()?;
        self.ensure_discovery()?;
        lan::order(&self.layout.lan(), &Order::Add(name.to_owned()))?;
        let wish = self.node(name)?.ssh_port;
        let port = free_port(wish).map_err(SiteError::Port)?;
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

    fn ensure_lan(&self) -> Result<(), SiteError> {
        let mut state = self.state();
        if state.lan.is_some_and(Process::alive) {
            return Ok(());
        }
        let mut command = Command::new(&self.background.program);
        command.args(&self.background.lan);
        state.lan = Some(lan::start(command, &self.layout.lan())?);
        for node in &state.nodes {
            lan::order(&self.layout.lan(), &Order::Add(node.name.clone()))?;
        }
        Ok(self.layout.save(&state)?)
    }

    /// Ends the processes that serve the nodes.
    fn stop_helpers(&self) -> Result<(), SiteError> {
        let mut state = self.state();
        let service = state.discovery.as_mut().and_then(|service| service.process.take());
        for process in state.lan.take().into_iter().chain(service) {
            process.kill()?;
        }
        Ok(self.layout.save(&state)?)
    }

    /// Puts a running node's disk at fault, or right again.
    pub fn disk(&self, name: &str, fault: DiskFault) -> Result<(), SiteError> {
        let node = self.node(name)?;
        self.backend.disk(&node, fault).map_err(|source| SiteError::Backend { node: name.to_owned(), source })
    }

    /// Cuts a node off the LAN, or lets it back.
    pub fn partition(&self, name: &str, cut: bool) -> Result<(), SiteError> {
        self.node(name)?;
        let order = if cut { Order::Isolate(name.to_owned()) } else { Order::Heal(name.to_owned()) };
        Ok(lan::order(&self.layout.lan(), &order)?)
    }
}

#[cfg(test)]
#[path = "site/tests.rs"]
mod tests;
