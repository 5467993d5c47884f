//! `keelson-ready`: reports to the host, once per boot, that this machine is up.
//!
//! It waits for systemd to finish the boot and never reports readiness before. Failed units are listed, not
//! judged.

mod deliver;
mod manager;
mod report;
mod slot;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::address::{self, Network};
use crate::root::Root;
use manager::{Boot, Jobs, Outcome};
pub use report::boot_id;
use report::{Report, Starting};

/// How long to wait for the address after the boot has finished.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// How many running units a progress report names.
const MAX_RUNNING: usize = 4;

/// Waits until the boot has finished, and reports it to the host.
///
/// The report is one line of JSON, written to the virtio port org.keelson.ready and to
/// /run/keelson/host/ready.json, if the host provides them.
#[derive(Parser)]
#[command(name = "keelson-ready", after_help = "Example:\n  keelson-ready --print")]
struct Flags {
    /// Print the report instead of sending it
    #[arg(long)]
    print: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let on_progress = |jobs: &Jobs| {
        if !flags.print {
            report_progress(&flags.root, jobs);
        }
    };
    let boot = match wait_for_boot(on_progress)? {
        Outcome::Finished(boot) => boot,
        Outcome::Stopping => {
            eprintln!("the system is shutting down before the boot has finished: nothing to report");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let report = observe(&flags.root, boot)?;
    let line = report.line().context("cannot serialize the report")?;
    if flags.print {
        print!("{line}");
        return Ok(ExitCode::SUCCESS);
    }
    let delivered = deliver::deliver(&flags.root, &line)?;
    if delivered.is_empty() {
        eprintln!("no host to report to: {}", line.trim_end());
    }
    for target in delivered {
        eprintln!("reported to {target}: {}", line.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn report_progress(root: &Root, jobs: &Jobs) {
    let running = &jobs.running[..jobs.running.len().min(MAX_RUNNING)];
    let status = jobs.status.as_ref();
    match (Starting { state: "starting", jobs: jobs.left, running, status }).line() {
        Ok(line) => deliver::deliver_progress(root, &line),
        Err(error) => eprintln!("cannot serialize the progress report: {error}"),
    }
}

/// Queries systemd on a single-threaded runtime.
fn wait_for_boot(on_progress: impl Fn(&Jobs)) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = zbus::Connection::system().await.context("cannot reach the system bus")?;
        manager::wait_for_boot(&bus, on_progress)
            .await
            .context("cannot get the result of the boot from systemd")
    })
}

fn observe(root: &Root, boot: Boot) -> Result<Report> {
    let preferred = address::wait_for(ADDRESS_TIMEOUT, || Network::observe(root).preferred())
        .context("cannot watch the network")?;
    let found = preferred.or_else(|| Network::observe(root).best_available());
    Ok(Report {
        state: "ready",
        version: report::version(root),
        profile: report::profile(root),
        slot: slot::slot(root),
        failed_units: boot.failed_units,
        address: found.map(|found| found.address),
        boot_id: report::boot_id(root)?,
        startup_ms: boot.startup_ms,
    })
}
