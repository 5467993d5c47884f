//! Scenarios: what whole machines have to do, as short functions that run on QEMU and on nspawn.
//!
//! Each scenario has machines of its own. One that fails keeps their journals, consoles and disks in a
//! folder that it names. A back end that can not run on a host makes a scenario skipped, never passed.

mod failure;
pub mod scenarios;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use machines::cluster::BackendKind;
use machines::image::Image;
use machines::site::Background;
use serde::Serialize;

pub use failure::Failure;
pub use scenarios::ALL;
pub use stage::Stage;

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

impl Run {
    /// Runs one scenario on one back end, and removes its machines if it passes.
    #[must_use]
    pub fn scenario(&self, scenario: &Scenario, backend: BackendKind) -> Outcome {
        stage::run(self, scenario, backend)
    }
}
