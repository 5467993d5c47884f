//! State shared by the steps of a run: settings, the systemd connection, changes and failures so far.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::Instant;

use cloudinit::plan;
use host::systemd::Systemd;
use host::{Outcome, Root, flush, leftovers};

use super::pending_job::PendingJob;
use super::staging::StagedFiles;
use crate::datasource::Fetcher;
use crate::log::Log;
use crate::report::Failure;
use crate::script::StoredScript;

/// The result of applying a plan.
#[derive(Debug, Default)]
pub struct Applied {
    pub failed: Vec<Failure>,
    /// Optional steps that failed; they do not fail the run.
    pub missed: Vec<Failure>,
    pub changed: u32,
    /// Units of the started scripts.
    pub scripts: Vec<String>,
}

/// Why a step failed; holds the whole error chain.
#[derive(Debug)]
pub(super) struct StepError(pub String);

impl<E: std::error::Error> From<E> for StepError {
    fn from(error: E) -> Self {
        Self(service::error::chain(&error))
    }
}

pub struct Settings<'a> {
    pub root: &'a Root,
    /// Whether helper programs and systemd may be called.
    pub may_run: bool,
    pub workspace: &'a str,
    /// No unit job is waited for after this time.
    pub commands_deadline: Instant,
    pub log: &'a Log,
}

pub(super) struct ApplyContext<'a> {
    pub settings: &'a Settings<'a>,
    systemd: OnceCell<Result<Systemd, String>>,
    pub applied: Applied,
    /// Units whose files changed.
    pub changed_units: BTreeSet<String>,
    /// A unit was enabled or disabled.
    pub enabled: bool,
    pub network_changed: bool,
    /// Paths of the files that were written.
    pub written: BTreeSet<String>,
    /// The scripts of this run so far.
    pub scripts: Vec<StoredScript>,
    pub fetcher: Fetcher,
    pub staged_files: StagedFiles,
    pub pending_jobs: Vec<PendingJob>,
    /// Paths whose parent folders need an fsync.
    pub unflushed: BTreeSet<String>,
    /// Folders already cleaned of leftovers.
    cleaned_folders: BTreeSet<String>,
}

pub(super) type StepResult = Result<Outcome, StepError>;

impl<'a> ApplyContext<'a> {
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
            staged_files: StagedFiles::default(),
            pending_jobs: Vec::new(),
            unflushed: BTreeSet::new(),
            cleaned_folders: BTreeSet::new(),
        }
    }

    pub fn record_failure(&mut self, step: String, error: String) {
        self.settings.log.error(format!("Failed to apply cloud-config: {step}: {error}"));
        self.applied.failed.push(Failure { step, error });
    }

    pub fn record_missed(&mut self, step: String, error: String) {
        self.settings.log.error(format!("Failed to {step}: {error}. Continuing..."));
        self.applied.missed.push(Failure { step, error });
    }

    pub fn info(&self, message: impl AsRef<str>) {
        self.settings.log.info(message);
    }

    /// Whether helpers and systemd may be called; logs the skipped action if not.
    pub fn may_run(&self, what: &str) -> bool {
        if !self.settings.may_run {
            self.info(format!("Skipping {what}: -root is given without -root-run"));
        }
        self.settings.may_run
    }

    /// Removes temporary files that an interrupted run left beside `path`. Once per folder.
    pub fn remove_leftovers(&mut self, path: &str) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !self.cleaned_folders.insert(folder.to_owned()) {
            return;
        }
        match leftovers::remove_beside(self.settings.root, path) {
            Ok(0) => {}
            Ok(count) => {
                self.info(format!("Removed {count} temporary files that an earlier run left in {folder}"))
            }
            // An unreadable or read-only folder fails in its own step.
            Err(error) => self
                .info(format!("Not looking for what earlier runs left: {}", service::error::chain(&error))),
        }
    }

    /// Stages the next batch of files of `steps`, unless it is staged already.
    pub fn stage(&mut self, steps: &[plan::Step]) {
        let writes = self.staged_files.next_batch(steps);
        // Before staging: staged files look like leftovers.
        writes.iter().for_each(|write| self.remove_leftovers(&write.path));
        self.staged_files.stage(self.settings.root, &writes);
    }

    /// Makes everything done so far survive a power loss.
    pub fn flush(&mut self) {
        let unflushed = std::mem::take(&mut self.unflushed);
        if let Err(error) = flush::parent_folders(self.settings.root, unflushed.iter().map(String::as_str)) {
            self.record_failure("keep what was written".to_owned(), service::error::chain(&error));
        }
    }

    /// Connects on first use.
    pub fn systemd(&self) -> Result<&Systemd, StepError> {
        let connected =
            self.systemd.get_or_init(|| Systemd::connect().map_err(|error| service::error::chain(&error)));
        connected.as_ref().map_err(|error| StepError(error.clone()))
    }
}
