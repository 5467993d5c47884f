//! State that all verbs share: the cluster's folder, progress output, and the commands of background processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use machines::cluster::{Cluster, Node};
use machines::process::Process;
use machines::site::{Background, Site, SiteError, adopt};
use machines::store::{Layout, Lock};
use progress::Progress;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::global::Global;

pub struct Context {
    pub json: bool,
    pub progress: Progress,
    pub state_dir: PathBuf,
    pub cluster: String,
    /// [`Global::command`].
    pub command: String,
    pub background: Background,
}

impl Context {
    pub fn new(global: &Global) -> anyhow::Result<Self> {
        let state_dir = match &global.state_dir {
            Some(folder) => std::path::absolute(folder).context("--state-dir")?,
            None => default_state_dir()?,
        };
        let arguments = |subcommand: &str| vec!["internal".to_owned(), subcommand.to_owned()];
        let program = std::env::current_exe().context("cannot determine the path of keelson")?;
        let background = Background {
            program,
            lan: arguments("lan"),
            supervisor: arguments("keeper"),
            qemu: arguments("qemu"),
            discovery: arguments("discovery"),
        };
        let progress = if global.quiet { Progress::Quiet } else { Progress::Visible };
        let (cluster, command) = (global.cluster.clone(), global.command());
        Ok(Self { json: global.json, progress, state_dir, cluster, command, background })
    }

    /// Paths of the cluster. Not part of [`Context::new`]: an unusable folder must not affect verbs that need no
    /// machines.
    pub fn layout(&self) -> anyhow::Result<Layout> {
        Ok(Layout::new(&self.state_dir, &self.cluster)?)
    }

    /// The cluster's state, with running processes that were not recorded. Fails if the cluster does not exist.
    pub fn load(&self) -> anyhow::Result<Cluster> {
        let layout = self.layout()?;
        let mut cluster = layout.load()?.ok_or_else(|| SiteError::no_cluster(&layout))?;
        adopt(&layout, &mut cluster, &self.background);
        Ok(cluster)
    }

    /// A machine of the cluster; fails if it does not exist.
    pub fn node(&self, name: &str) -> anyhow::Result<Node> {
        let cluster = self.load()?;
        let has = || cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let node = cluster.node(name).cloned();
        Ok(node.ok_or_else(|| SiteError::NoNode { name: name.to_owned(), has: has() })?)
    }

    pub fn running(&self, name: &str) -> anyhow::Result<Node> {
        let node = self.node(name)?;
        let runs = node.process.is_some_and(Process::alive);
        if runs { Ok(node) } else { Err(SiteError::Stopped(name.to_owned()).into()) }
    }

    /// Acquires the cluster's lock; reports the holder while it waits.
    pub fn lock(&self, verb: &str, cancel: &AtomicBool) -> anyhow::Result<Lock> {
        let mut waiting = |holder: &str| self.progress.note(&format!("waiting for {holder} to finish"));
        Ok(self.layout()?.lock(verb, cancel, &mut waiting)?)
    }

    pub fn open(&self, verb: &str) -> anyhow::Result<Site> {
        self.load()?;
        let cancel = interrupt()?;
        let lock = self.lock(verb, &cancel)?;
        Ok(Site::open(self.layout()?, lock, self.background.clone(), cancel)?)
    }
}

/// A flag that SIGINT and SIGTERM set. A second SIGINT exits immediately. A second SIGTERM does not: if a process
/// group is terminated and its leader forwards the signal, it arrives twice, and machines would keep running.
pub fn interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 1, Arc::clone(&flag))
        .context("signal handler")?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).context("signal handler")?;
    }
    Ok(flag)
}

fn default_state_dir() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return Ok(state.join("keelson"));
    }
    let home = absolute("HOME").context("neither XDG_STATE_HOME nor HOME is set; use --state-dir")?;
    Ok(home.join(Path::new(".local/state/keelson")))
}
