//! `keelson-health-check`: whether this boot is a good one (the update contract's 4.3).
//!
//! `boot-complete.target` requires it, and a new version counts as good only behind that. It must never call a
//! machine healthy that it could not ask, and never restarts one itself: `keelson-health-reboot.service` does, where
//! [`trial`] says that another version can be taken.

mod check;
mod cluster;
mod examine;
mod good;
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
mod updater;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::face::FAILED;
use crate::root::Root;
use examine::{Examination, Verdict};
use journal::{Journal, Priority};
use settings::Settings;
use trial::Trial;

pub use report::{Brief, Health, read as brief};

/// Checks whether this boot is a good one.
///
/// Runs what is executable below /usr/lib/keelson/health.d and /etc/keelson/health.d, and asks systemd, the network and
/// the key-value store's member of this machine. What fails is tried again until the time is over.
#[derive(Parser)]
#[command(
    name = "keelson-health-check",
    after_help = "Example:\n  keelson-health-check; cat /run/keelson/health.json"
)]
struct Flags {
    /// Checks nothing; exit status 0 means that this boot is a trial after which another version can be taken
    #[arg(long)]
    is_trial: bool,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(words);
    let journal = Journal::open(&flags.root);
    let trial = trial::look(&flags.root);
    if flags.is_trial {
        let trial = if report::is_waiting(&flags.root) {
            Trial::Over(
                "too few members of its cluster can be reached: this version is not judged yet".to_owned(),
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
        Verdict::Healthy(said) => {
            journal.say(Priority::Notice, None, &said);
            Ok(ExitCode::SUCCESS)
        }
        Verdict::Waiting(why) => {
            let line = format!("this version is on trial, and is judged when its cluster is there: {why}");
            journal.say(Priority::Warning, None, &line);
            Ok(ExitCode::from(FAILED))
        }
        Verdict::Unhealthy(why) => {
            let then = match &trial {
                Trial::Running(why) => format!("this machine restarts ({why})"),
                Trial::Over(why) => format!("this machine stays up, since {why}"),
            };
            journal.say(Priority::Error, None, &format!("this machine is not healthy: {why}; {then}"));
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// The exit status is the condition of the unit that restarts.
fn restart(journal: &Journal, trial: &Trial) -> ExitCode {
    match trial {
        Trial::Running(why) => {
            journal.say(Priority::Error, None, &format!("this boot failed, so the machine restarts: {why}"));
            ExitCode::SUCCESS
        }
        Trial::Over(why) => {
            journal.say(Priority::Notice, None, &format!("the machine stays up: {why}"));
            ExitCode::from(FAILED)
        }
    }
}
