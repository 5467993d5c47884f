//! What a scenario is, what it gets, and what it ends with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use machines::cluster::BackendKind;
use machines::image::Image;
use machines::machine::Machine;
use machines::site::{Background, Event, Site};
use serde::Serialize;

use crate::failure::Failure;

/// How long a machine may take to get ready: emulated ones on a busy host are slow.
const BOOT_QEMU: Duration = Duration::from_secs(240);
const BOOT_NSPAWN: Duration = Duration::from_secs(60);

/// The machines of one running scenario.
pub struct Stage<'a> {
    pub site: &'a Site,
    pub backend: BackendKind,
    pub run: &'a Run,
}

impl<'a> Stage<'a> {
    /// How long a machine of this back end may take to get ready.
    #[must_use]
    pub fn boot_limit(&self) -> Duration {
        match self.backend {
            BackendKind::Qemu => BOOT_QEMU,
            BackendKind::Nspawn => BOOT_NSPAWN,
        }
    }

    /// The machine with this number, from 1.
    #[must_use]
    pub fn machine(&self, number: usize) -> Machine<'a> {
        Machine::new(self.site, &format!("core-{number:02}"), self.boot_limit())
    }

    /// Boots all machines at once and waits until they are ready; how long each took.
    pub fn boot(&self) -> Result<Vec<Duration>, Failure> {
        let times = std::sync::Mutex::new(Vec::new());
        self.site.up(self.boot_limit(), &|event| {
            if let Event::Ready { after, .. } = event {
                times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(after);
            }
        })?;
        Ok(times.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// What a scenario is and what it needs.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// Completes the sentence "shows that ...".
    pub about: &'static str,
    pub nodes: usize,
    pub on: &'static [BackendKind],
    /// Takes minutes even where machines are fast.
    pub long: bool,
    pub user_data: Option<&'static str>,
    pub run: fn(&Stage<'_>) -> Result<(), Failure>,
}

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
