//! The machines of one running scenario, and what becomes of them at its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use machines::backend::BackendError;
use machines::cluster::{BackendKind, Wish};
use machines::machine::Machine;
use machines::site::{Event, Site, SiteError};
use machines::store::Layout;

use crate::{Failure, Outcome, Run, Scenario};

/// How long a machine may take to get ready: emulated ones on a busy host are slow.
const BOOT_QEMU: Duration = Duration::from_secs(240);
const BOOT_NSPAWN: Duration = Duration::from_secs(60);

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

pub(crate) fn run(run: &Run, scenario: &Scenario, backend: BackendKind) -> Outcome {
    let kept = |why: String, site: Option<&Site>| Outcome::Failed { why, kept: keep(run, site) };
    let site = match set_up(run, scenario, backend) {
        Ok(site) => site,
        Err(SiteError::Open(error @ BackendError::Root)) => {
            return Outcome::Skipped { why: error.to_string() };
        }
        Err(error) => return kept(Failure::from(error).chain(), None),
    };
    let stage = Stage { site: &site, backend, run };
    let done = (scenario.run)(&stage);
    if run.cancel.load(std::sync::atomic::Ordering::Relaxed) {
        return match site.destroy() {
            Ok(()) => Outcome::Skipped { why: "interrupted".to_owned() },
            Err(error) => kept(Failure::from(error).chain(), None),
        };
    }
    match done {
        Ok(()) => match site.destroy() {
            Ok(()) => Outcome::Passed,
            Err(error) => kept(Failure::from(error).chain(), None),
        },
        Err(failure) => kept(failure.chain(), Some(&site)),
    }
}

fn set_up(run: &Run, scenario: &Scenario, backend: BackendKind) -> Result<Site, SiteError> {
    // One name a process, so that two test runs do not meet.
    let short: String = scenario.name.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    let name = format!("t-{short}-{backend}-{}", std::process::id());
    let layout = Layout::new(&run.state, &name)?;
    let lock = layout.lock("test", &run.cancel, &mut |_| {})?;
    let wish = Wish { nodes: scenario.nodes, backend, ..Wish::default() };
    let site = Site::create(
        layout,
        lock,
        run.image.clone(),
        &wish,
        run.background.clone(),
        Arc::clone(&run.cancel),
    )?;
    if let Some(user_data) = scenario.user_data {
        site.set_user_data(user_data.as_bytes())?;
    }
    Ok(site)
}

/// Keeps what tells why: journals of machines that still answer; consoles and disks are there already.
fn keep(run: &Run, site: Option<&Site>) -> PathBuf {
    let Some(site) = site else { return run.state.clone() };
    let folder: &Path = site.layout().root();
    for status in site.status().into_iter().filter(|status| status.pid.is_some()) {
        let machine = Machine::new(site, &status.name, Duration::ZERO);
        if let Err(error) = machine.keep_journal(folder) {
            eprintln!("the journal of {} could not be kept: {error}", status.name);
        }
    }
    if let Err(error) = site.down() {
        eprintln!("the machines of the scenario could not be stopped: {error}");
    }
    folder.to_path_buf()
}
