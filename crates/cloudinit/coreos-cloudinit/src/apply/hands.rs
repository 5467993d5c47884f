//! What the steps of a run share: the machine, systemd, what changed so far, what failed.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::Instant;

use cloudinit::plan;
use host::systemd::Systemd;
use host::{Outcome, Root, flush, leftovers};

use super::postponed::Postponed;
use super::stage::Ahead;
use crate::datasource::Fetcher;
use crate::log::Log;
use crate::report::Failure;
use crate::script::Stored;

/// What a run did.
#[derive(Debug, Default)]
pub struct Applied {
    pub failed: Vec<Failure>,
    /// What could not be had and can be done without: the run has not failed for it.
    pub missed: Vec<Failure>,
    pub changed: u32,
    /// Units of the scripts that were started.
    pub scripts: Vec<String>,
}

/// Why a step failed; its text is the whole chain.
#[derive(Debug)]
pub(super) struct StepError(pub String);

impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        Self(service::error::chain(&error))
    }
}

pub struct Settings<'a> {
    pub root: &'a Root,
    /// Helper programs and systemd may be used.
    pub may_run: bool,
    pub workspace: &'a str,
    /// No job of a command is waited for after this.
    pub commands_end: Instant,
    pub log: &'a Log,
}

pub(super) struct Hands<'a> {
    pub settings: &'a Settings<'a>,
    systemd: OnceCell<Result<Systemd, String>>,
    pub applied: Applied,
    /// Units whose files changed.
    pub changed_units: BTreeSet<String>,
    /// What other units want changed.
    pub enabled: bool,
    pub network_changed: bool,
    /// Paths of files that were written anew.
    pub written: BTreeSet<String>,
    /// The scripts of this run so far.
    pub scripts: Vec<Stored>,
    pub fetcher: Fetcher,
    pub ahead: Ahead,
    pub postponed: Vec<Postponed>,
    /// What was put into folders that are not flushed yet, or taken from them.
    pub touched: BTreeSet<String>,
    /// Folders that were looked through for what earlier runs left.
    tidied: BTreeSet<String>,
}

pub(super) type Step = Result<Outcome, StepError>;

impl<'a> Hands<'a> {
    pub fn new(settings: &'a Settings<'a>) -> Self {
        Self {
            settings,
            systemd: OnceCell::new(),
            applied: Applied::default(),
            changed_units: BTreeSet::new(),
            enabled: false,
            network_changed: false,
            written: BTreeSet::new(),
            scripts: Vec::new(),
            fetcher: Fetcher::default(),
            ahead: Ahead::default(),
            postponed: Vec::new(),
            touched: BTreeSet::new(),
            tidied: BTreeSet::new(),
        }
    }

    pub fn fail(&mut self, step: String, error: String) {
        self.settings.log.error(format!("Failed to apply cloud-config: {step}: {error}"));
        self.applied.failed.push(Failure { step, error });
    }

    pub fn miss(&mut self, step: String, error: String) {
        self.settings.log.error(format!("Failed to {step}: {error}. Continuing..."));
        self.applied.missed.push(Failure { step, error });
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.settings.log.info(message);
    }

    /// Whether a helper or systemd may be used; said if not.
    pub fn may_run(&self, what: &str) -> bool {
        if !self.settings.may_run {
            self.info(format!("Skipping {what}: -root is given without -root-run"));
        }
        self.settings.may_run
    }

    /// What a run that was cut off left where this one is going to write. Once a folder.
    pub fn tidy(&mut self, path: &str) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !self.tidied.insert(folder.to_owned()) {
            return;
        }
        match leftovers::remove_beside(self.settings.root, path) {
            Ok(0) => {}
            Ok(count) => {
                self.info(format!("Removed {count} temporary files that an earlier run left in {folder}"))
            }
            // What cannot be read or written will say so itself.
            Err(error) => self
                .info(format!("Not looking for what earlier runs left: {}", service::error::chain(&error))),
        }
    }

    /// Makes the files of the first of `steps` ready, unless that was done.
    pub fn stage(&mut self, steps: &[plan::Step]) {
        let writes = self.ahead.due(steps);
        // Once they stand there, nobody could tell them from what an earlier run left.
        writes.iter().for_each(|write| self.tidy(&write.path));
        self.ahead.make_ready(self.settings.root, &writes);
    }

    /// So that all that was done so far outlives a power cut.
    pub fn flush(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if let Err(error) = flush::above(self.settings.root, touched.iter().map(String::as_str)) {
            self.fail("keep what was written".to_owned(), service::error::chain(&error));
        }
    }

    /// Connects when it is first needed.
    pub fn systemd(&self) -> Result<&Systemd, StepError> {
        let connected =
            self.systemd.get_or_init(|| Systemd::connect().map_err(|error| service::error::chain(&error)));
        connected.as_ref().map_err(|error| StepError(error.clone()))
    }
}
