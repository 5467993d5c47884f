//! Steps that run beside tests and booted machines, which wait for a part of their time: in a second `cargo verify` at idle
//! priority.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::idle::Idle;
use super::report::Recorded;
use super::result::StepResult;
use crate::command::target_folder;

/// Report and output of the second run, below cargo's target folder.
const REPORT: &str = "verify/beside.json";
const LOG: &str = "verify/beside.log";

/// The second run, or its results. Dropping it terminates the run.
#[derive(Debug, Default)]
pub struct Beside {
    running: Option<Running>,
    results: Vec<StepResult>,
}

#[derive(Debug)]
struct Running {
    idle: Idle,
    report: PathBuf,
}

impl Beside {
    pub fn was_started(&self) -> bool {
        self.running.is_some() || !self.results.is_empty()
    }

    /// Starts these steps.
    pub fn start(&mut self, root: &Path, steps: &[&str]) -> Result<()> {
        let target = target_folder(root);
        let (report, log) = (target.join(REPORT), target.join(LOG));
        std::fs::create_dir_all(log.parent().unwrap_or(root)).context("cannot create the log's folder")?;
        match std::fs::remove_file(&report) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", report.display()));
            }
            _ => {}
        }
        let mut command = Command::new(std::env::current_exe().context("the path of xtask")?);
        command.current_dir(root).args(["verify", "--no-install", "--report"]).arg(&report).args(steps);
        self.running = Some(Running { idle: Idle::start(&command, &log)?, report });
        Ok(())
    }

    /// Takes the results of this step, after the run has ended; none if it was not started.
    pub fn take(&mut self, step: &str) -> Result<Vec<StepResult>> {
        if let Some(running) = self.running.take() {
            self.results = running.finish()?;
        }
        Ok(self.results.extract_if(.., |result| result.is_of(step)).collect())
    }
}

impl Running {
    fn finish(self) -> Result<Vec<StepResult>> {
        eprintln!("waiting for the steps that run beside the scenarios; their output follows");
        let code = self.idle.finish()?.code;
        let text = std::fs::read_to_string(&self.report).with_context(|| {
            format!("the steps beside the scenarios ended without a report, exit code {code:?}")
        })?;
        Ok(Recorded::parse(&text)?.results())
    }
}
