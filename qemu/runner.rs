//! Runs a scenario: creates its machines, then removes them or keeps what a diagnosis needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use machines::backend::BackendError;
use machines::cluster::{BackendKind, ClusterSpec, SharedFolder};
use machines::machine::Machine;
use machines::ready::Limit;
use machines::site::{Site, SiteError};
use machines::spec_change::SpecChange;
use machines::store::{Layout, StoreError};

use crate::failure::Failure;
use crate::own_image;
use crate::scenario::{self, Context, Outcome, Run, Scenario};
use crate::slowdown::slowdown;

/// Runs one scenario on one back end, and removes its machines if it passes.
#[must_use]
pub fn run(run: &Run, scenario: &Scenario, backend: BackendKind) -> Outcome {
    let kept = |why: String, site: Option<&Site>| Outcome::Failed { why, kept: keep(run, site) };
    let failed = |error: SiteError| kept(Failure::from(error).chain(), None);
    let layout = match layout(run, scenario, backend) {
        Ok(layout) => layout,
        Err(error) => return failed(error.into()),
    };
    let own = match own_image::image(run, scenario, layout.root()) {
        Ok(image) => image.map(|image| Run { image, ..run.clone() }),
        Err(Failure::Unavailable(why)) => return Outcome::Skipped { why },
        Err(failure) => return kept(failure.chain(), None),
    };
    let run = own.as_ref().unwrap_or(run);
    let site = match set_up(run, scenario, backend, layout.clone()) {
        Ok(site) => site,
        Err(SiteError::Open(error @ BackendError::Root)) => {
            // The folder holds nothing that a diagnosis needs.
            return match std::fs::remove_dir_all(layout.root()) {
                Ok(()) => Outcome::Skipped { why: error.to_string() },
                Err(source) => failed(SiteError::Write { path: layout.root().to_path_buf(), source }),
            };
        }
        Err(error) => return failed(error),
    };
    let context = Context { site: &site, backend, run };
    let done = (scenario.run)(&context);
    if run.cancel.load(std::sync::atomic::Ordering::Relaxed) {
        return match site.destroy() {
            Ok(()) => Outcome::Skipped { why: "interrupted".to_owned() },
            Err(error) => failed(error),
        };
    }
    match done {
        Ok(()) => match site.destroy() {
            Ok(()) => Outcome::Passed,
            Err(error) => failed(error),
        },
        Err(Failure::Unavailable(why)) => match site.destroy() {
            Ok(()) => Outcome::Skipped { why },
            Err(error) => failed(error),
        },
        Err(failure) => kept(failure.chain(), Some(&site)),
    }
}

/// Returns where the scenario's machines are stored.
fn layout(run: &Run, scenario: &Scenario, backend: BackendKind) -> Result<Layout, StoreError> {
    // The process id keeps concurrent test runs apart.
    Layout::new(&run.state, &format!("t-{}-{backend}-{}", short(scenario.name), std::process::id()))
}

/// Shortens a scenario's name for its folder: the paths of sockets in it are limited in length.
pub(crate) fn short(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(12).collect()
}

fn set_up(run: &Run, scenario: &Scenario, backend: BackendKind, layout: Layout) -> Result<Site, SiteError> {
    let lock = layout.lock("test", &run.cancel, &mut |_| {})?;
    let spec = ClusterSpec {
        nodes: scenario.nodes,
        backend,
        datasource: scenario.datasource,
        shared: shared_folders(&layout, scenario)?,
        outbound: scenario.outbound,
        tls: scenario.tls,
        secure_boot: scenario.secure_boot,
        hardware: scenario.hardware,
        spare_disk_gib: scenario.spare_disk_gib,
        qemu_arguments: scenario.qemu_arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..ClusterSpec::default()
    };
    let site = Site::create(
        layout,
        lock,
        run.image.clone(),
        &spec,
        &SpecChange::default(),
        run.background.clone(),
        Arc::clone(&run.cancel),
    )?;
    if let Some(user_data) = scenario.user_data {
        site.set_user_data(user_data.as_bytes())?;
    }
    Ok(site)
}

fn shared_folders(layout: &Layout, scenario: &Scenario) -> Result<Vec<SharedFolder>, SiteError> {
    let made = |(number, guest): (usize, &&str)| {
        let host = scenario::shared(layout, number);
        std::fs::create_dir_all(&host).map_err(|source| SiteError::Write { path: host.clone(), source })?;
        Ok(SharedFolder { host, guest: (*guest).to_owned() })
    };
    (1..).zip(scenario.shared).map(made).collect()
}

/// Saves the journals of the machines that still run; consoles and disks are in the folder already.
fn keep(run: &Run, site: Option<&Site>) -> PathBuf {
    let Some(site) = site else { return run.state.clone() };
    let folder: &Path = site.layout().root();
    for status in site.status().into_iter().filter(|status| status.pid.is_some()) {
        let machine = Machine::new(site, &status.name, Limit::Total(Duration::ZERO), slowdown);
        if let Err(error) = machine.save_journal(folder) {
            eprintln!("the journal of {} could not be kept: {error}", status.name);
        }
    }
    if let Err(error) = site.down() {
        eprintln!("the machines of the scenario could not be stopped: {error}");
    }
    folder.to_path_buf()
}
