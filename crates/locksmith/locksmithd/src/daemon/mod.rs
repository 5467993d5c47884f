//! locksmithd: waits until the update agent needs a reboot, and for whatever has to be before it.

mod run;
mod work;

use std::path::Path;
use std::process::ExitCode;

use command_line::{Flag, before_arguments};
use locksmith_core::{DAEMON_FLAGS, Daemon, FLAGS};
use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::hands::{lock_marker, machine};
use crate::version::VERSION;

/// Libraries whose daily business is nobody's news.
const QUIET: [&str; 3] = ["hyper", "rustls", "zbus"];
/// Starting it again would not help: what it was told cannot be used.
const WRONG_USE: u8 = 2;

pub fn main(words: &[String]) -> ExitCode {
    let flags: Vec<Flag> = [FLAGS, DAEMON_FLAGS].concat();
    let given = match before_arguments(&flags, words) {
        Ok(given) => given,
        Err(bad) => {
            eprintln!("{}", bad.0);
            return ExitCode::from(WRONG_USE);
        }
    };
    if given.wants_help() {
        println!("Usage of locksmithd:");
        flags.iter().for_each(|flag| println!("  {}\n    \t{}", flag.usage(), flag.help));
        return ExitCode::SUCCESS;
    }
    if given.is_set("version") {
        println!("locksmithd version {VERSION}");
        return ExitCode::SUCCESS;
    }
    let least = credential();
    let settings = locksmith_core::daemon(&given, &|name| variable(name, &least));
    let debug = matches!(&settings, Ok(Daemon::Run(settings)) if settings.store.debug);
    let level = if debug { Level::DEBUG } else { Level::INFO };
    let targets = Targets::new().with_default(level).with_targets(QUIET.map(|name| (name, Level::WARN)));
    if let Err(error) = service::log::start("locksmithd", targets) {
        eprintln!("error: {}", service::error::chain(&error));
        return ExitCode::FAILURE;
    }
    let settings = match settings {
        Ok(Daemon::Off(Some(settings))) if lock_marker::is_release_due(&machine::state_folder()) => {
            Ok(Daemon::Run(settings))
        }
        settings => settings,
    };
    match settings {
        Ok(Daemon::Off(_)) => {
            // systemd wants to hear that even of a service that ends at once.
            service::notify::ready("the reboot strategy is off");
            tracing::info!("Reboot strategy is \"off\" - locksmithd is exiting.");
            ExitCode::SUCCESS
        }
        Ok(Daemon::Run(settings)) => match run::run(*settings) {
            Ok(code) => code,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(WRONG_USE)
        }
    }
}

/// What whoever made this machine handed over, such as where a store of TLS is: `NAME=value` lines. Empty without.
fn credential() -> String {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return String::new() };
    std::fs::read_to_string(Path::new(&folder).join("locksmith.environment")).unwrap_or_default()
}

/// A variable of the environment, else one of those that count least.
fn variable(name: &str, least: &str) -> Option<String> {
    let handed_over = || {
        let line = least.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(str::to_owned)
    };
    std::env::var(name).ok().or_else(handed_over)
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn what_was_handed_over_counts_least() {
        let least = "LOCKSMITHD_ENDPOINT=https://a:1\nPATH=/nowhere\n";
        assert_eq!(variable("LOCKSMITHD_ENDPOINT", least).as_deref(), Some("https://a:1"));
        assert_eq!(variable("LOCKSMITHD_END", least), None);
        assert_ne!(variable("PATH", least).as_deref(), Some("/nowhere"));
    }
}
