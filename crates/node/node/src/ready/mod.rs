//! `keelson-ready`: tells the host, once a boot, that this machine is up.
//!
//! It waits for systemd's own word that the jobs of the boot are done, and must never say "ready" before. Units
//! that failed are listed, not judged.

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

/// How long the address may come after the boot has finished.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);
/// Units at work that the host is told of.
const RUNNING_MAX: usize = 4;

/// Waits until the boot has finished, and reports it to the host.
///
/// The report is one line of JSON, on the virtio port org.keelson.ready and in /run/keelson/host/ready.json,
/// where the host has made them.
#[derive(Parser)]
#[command(name = "keelson-ready", after_help = "Example:\n  keelson-ready --print")]
struct Flags {
    /// Prints the line, and gives it to nobody
    #[arg(long)]
    print: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(words);
    let tell = |jobs: &Jobs| {
        if !flags.print {
            tell(&flags.root, jobs);
        }
    };
    let boot = match boot(tell)? {
        Outcome::Finished(boot) => boot,
        Outcome::Stopping => {
            eprintln!("the system stops before its boot has finished: nothing to report");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let report = observe(&flags.root, boot)?;
    let line = report.line().context("cannot write the report as JSON")?;
    if flags.print {
        print!("{line}");
        return Ok(ExitCode::SUCCESS);
    }
    let told = deliver::deliver(&flags.root, &line)?;
    if told.is_empty() {
        eprintln!("no host waits for it: {}", line.trim_end());
    }
    for place in told {
        eprintln!("told {place}: {}", line.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(root: &Root, jobs: &Jobs) {
    let running = &jobs.running[..jobs.running.len().min(RUNNING_MAX)];
    let status = jobs.status.as_ref();
    match (Starting { state: "starting", jobs: jobs.left, running, status }).line() {
        Ok(line) => deliver::tell(root, &line),
        Err(error) => eprintln!("cannot write the jobs as JSON: {error}"),
    }
}

/// Asks systemd, on one thread.
fn boot(tell: impl Fn(&Jobs)) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = zbus::Connection::system().await.context("cannot reach the system bus")?;
        manager::wait(&bus, tell).await.context("systemd does not say how the boot went")
    })
}

fn observe(root: &Root, boot: Boot) -> Result<Report> {
    let settled = address::wait(ADDRESS_WAIT, || Network::observe(root).settled())
        .context("cannot follow the changes of the network")?;
    let found = settled.or_else(|| Network::observe(root).best());
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
