//! What a scenario is, what it gets, and what it ends with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use machines::cluster::{BackendKind, Datasource};
use machines::image::Image;
use machines::machine::Machine;
use machines::site::{Background, Event, Site};
use machines::store::Layout;
use serde::Serialize;

use crate::failure::Failure;
use crate::slowdown::slowdown;

/// A boot's usual time, and more for a busy host. Whether a machine gets ready is no matter of a time.
const BOOT_QEMU: Duration = Duration::from_secs(480);
const BOOT_NSPAWN: Duration = Duration::from_secs(120);

/// The machines of one running scenario.
pub struct Stage<'a> {
    pub site: &'a Site,
    pub backend: BackendKind,
    pub run: &'a Run,
}

impl<'a> Stage<'a> {
    /// How long something may take that a boot of this back end is a part of.
    #[must_use]
    pub fn boot_limit(&self) -> Duration {
        match self.backend {
            BackendKind::Qemu => BOOT_QEMU,
            BackendKind::Nspawn => BOOT_NSPAWN,
        }
    }

    /// Whether the machines are emulated: slower than the host, by far.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.site.is_emulated()
    }

    /// The machine with this number, from 1.
    #[must_use]
    pub fn machine(&self, number: usize) -> Machine<'a> {
        Machine::new(self.site, &format!("core-{number:02}"), self.site.default_limit(), slowdown)
    }

    /// This side of the shared folder with this number, from 1.
    #[must_use]
    pub fn shared(&self, number: usize) -> PathBuf {
        shared(self.site.layout(), number)
    }

    /// Boots all machines at once and waits until they are ready; how long each took.
    pub fn boot(&self) -> Result<Vec<Duration>, Failure> {
        let times = std::sync::Mutex::new(Vec::new());
        self.site.up(self.site.default_limit(), &|event| {
            if let Event::Ready { after, .. } = event {
                times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(after);
            }
        })?;
        Ok(times.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

pub(crate) fn shared(layout: &Layout, number: usize) -> PathBuf {
    layout.root().join(format!("shared-{number}"))
}

/// What a scenario is and what it needs.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// Completes the sentence "shows that ...".
    pub about: &'static str,
    pub nodes: usize,
    /// Machines that it boots in a cluster of its own, as a user does.
    pub others: usize,
    pub on: &'static [BackendKind],
    /// Where it takes minutes too many for every run, or shows what others that do run there show too: there it runs
    /// with `--long`, or by its name.
    pub long_on: &'static [BackendKind],
    /// Where it runs only by its name: a row (`scenarios/row.rs`) runs it there, or what it shows is the same everywhere
    /// and is shown on nspawn by every run.
    pub by_name_on: &'static [BackendKind],
    pub user_data: Option<&'static str>,
    pub datasource: Datasource,
    /// Where each folder stands that the host shares with the machines; [`Stage::shared`] is its other side.
    pub shared: &'static [&'static str],
    /// The key-value store speaks TLS.
    pub tls: bool,
    /// The image is signed, and the firmware runs only what is.
    pub secure_boot: bool,
    /// Further words of QEMU's command line.
    pub qemu_words: &'static [&'static str],
    pub run: fn(&Stage<'_>) -> Result<(), Failure>,
}

/// What most scenarios have in common: one machine, quick, on both back ends, nothing odd about it.
pub const USUAL: Scenario = Scenario {
    name: "",
    about: "",
    nodes: 1,
    others: 0,
    on: &[BackendKind::Nspawn, BackendKind::Qemu],
    long_on: &[],
    by_name_on: &[],
    user_data: None,
    datasource: Datasource::ConfigDrive,
    shared: &[],
    tls: false,
    secure_boot: false,
    qemu_words: &[],
    run: |_| Ok(()),
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "result")]
pub enum Outcome {
    Passed,
    Failed { why: String, kept: PathBuf },
    Skipped { why: String },
}

/// What all scenarios of one run share.
#[derive(Debug, Clone)]
pub struct Run {
    pub image: Image,
    /// Folder below which each scenario gets one.
    pub state: PathBuf,
    pub background: Background,
    pub cancel: Arc<AtomicBool>,
}
