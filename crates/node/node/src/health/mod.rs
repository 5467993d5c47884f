//! `keelson-health-check`: whether this boot is good (the update contract's 4.3).
//!
//! `boot-complete.target` requires it, so that a new version counts as good only after it passes. It never
//! reports a machine as healthy that it could not check, and never reboots it: `keelson-health-reboot.service`
//! does, if [`trial`] finds that another version can be booted.

mod check;
mod cluster;
mod examine;
mod good_boot;
mod http;
mod journal;
mod member;
mod network;
mod observe;
mod report;
mod script;
mod settings;
mod trial;
mod units;
mod update_engine;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::applet::EXIT_FAILURE;
use crate::root::Root;
use examine::{Examination, Verdict};
use journal::{Journal, Priority};
use settings::Settings;
use trial::Trial;

pub use report::{Health, HealthSummary, read as summary};

/// Checks whether this boot is good.
///
/// Runs the executables in /usr/lib/keelson/health.d and /etc/keelson/health.d, and checks systemd, the network and
/// the etcd member of this machine. Failed checks are retried until the time limit.
#[derive(Parser)]
#[command(
    name = "keelson-health-check",
    after_help = "Example:\n  keelson-health-check; cat /run/keelson/health.json"
)]
struct Flags {
    /// Run no checks; exit with 0 if this boot is a trial and another version can be booted
    #[arg(long)]
    is_trial: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    let journal = Journal::open(&flags.root);
    let trial = trial::detect(&flags.root);
    if flags.is_trial {
        let trial = if report::is_waiting(&flags.root) {
            Trial::Over(
                "too few members of the etcd cluster are reachable: the trial of this version is pending"
                    .to_owned(),
            )
        } else {
            trial
        };
        return Ok(restart(&journal, &trial));
    }
    let settings = Settings::from(|name| std::env::var(name).ok())?;
    let on_trial = matches!(trial, Trial::Running(_));
    let mut examination = Examination::new(&flags.root, settings, &journal, on_trial)?;
    match examination.run(|| observe::observe(on_trial), std::thread::sleep)? {
        Verdict::Healthy(message) => {
            journal.log(Priority::Notice, None, &message);
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Waiting(reason) => {
            let line =
                format!("the trial of this version is pending until its etcd cluster is available: {reason}");
            journal.log(Priority::Warning, None, &line);
            Ok(ExitCode::from(EXIT_FAILURE))
        }
        Verdict::Unhealthy(reason) => {
            let then = match &trial {
                Trial::Running(reason) => format!("this machine reboots ({reason})"),
                Trial::Over(reason) => format!("this machine stays up because {reason}"),
            };
            journal.log(Priority::Error, None, &format!("this machine is not healthy: {reason}; {then}"));
            Ok(ExitCode::from(EXIT_FAILURE))
        }
    }
}

/// The exit status is the condition of `keelson-health-reboot.service`.
fn restart(journal: &Journal, trial: &Trial) -> ExitCode {
    match trial {
        Trial::Running(reason) => {
            journal.log(Priority::Error, None, &format!("this boot failed, rebooting: {reason}"));
            ExitCode::SUCCESS
        }
        Trial::Over(reason) => {
            journal.log(Priority::Notice, None, &format!("the machine stays up: {reason}"));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
